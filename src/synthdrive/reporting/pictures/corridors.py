"""Augmented scenes: the corridor of a route on the original and on the warped map, and the line that is driven."""

from __future__ import annotations

import numpy as np

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene, AugmentedScenes
from synthdrive.maps.lane_map import LaneMap
from synthdrive.reporting.map_drawing import Points, View, centrelines, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.seeding import item_seed

HALF_WIDTH = 70.0  # m, half the side of what is shown: the bend and the road around it


def corridors(scenes: AugmentedScenes, maps: dict[str, LaneMap], count: int, seed: int) -> Picture:
    """A picture of `count` augmented scenes, drawn at random in equal parts from the transforms; may be empty."""
    panels = []
    for number, index in enumerate(_pick(scenes, count, seed), start=1):
        scene = scenes[index]
        view = _bend_view(scene)
        segments = maps[scene.city].segments
        near = maps[scene.city].lanes_near(*view.centre, HALF_WIDTH + 10.0)
        with map_drawing(view) as panel:
            panel.add_lanes(centrelines(segments, near), "lane", width=0.8)
            if scene.lanes is not None:
                panel.add_lines(_in_view(centrelines(scene.lanes), view), "warped", width=1.1)
            panel.add_lines([scene.transform.unwarp(scene.centreline)], "original", width=1.4)
            panel.add_line(scene.centreline, "synthetic", width=1.8)
        sign = "+" if scene.direction > 0 else "\N{MINUS SIGN}"
        panels.append(
            Panel(f"corridor-{number}", f"{scene.city}: {scene.transform_kind}, {sign}{scene.amplitude:g}", panel.svg)
        )
    return Picture(
        name="augmented-corridors",
        title="Augmented scenes",
        caption="Each augmented scene is a route, the lanes of its corridor, and one transform. The driver follows the "
        "warped centreline with the warped lanes as its map. Look at whether they agree with each other: the map a "
        "forecaster is given must be the one that was driven.",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "original map"),
            LegendEntry("original", "route before"),
            LegendEntry("warped", "warped corridor"),
            LegendEntry("synthetic", "route driven"),
        ),
    )


def _pick(scenes: AugmentedScenes, count: int, seed: int) -> list[int]:
    sources = scenes.manifest["source"].to_pylist()
    kinds = scenes.manifest["transform"].to_pylist()
    names = scenes.manifest["scene_id"].to_pylist()
    usable = [index for index in scenes.kept().tolist() if sources[index] == AUGMENTED]
    usable.sort(key=lambda index: item_seed(seed, "corridor", names[index]))
    queues = [[index for index in usable if kinds[index] == kind] for kind in sorted({kinds[i] for i in usable})]
    rounds = [index for depth in range(len(usable)) for queue in queues for index in queue[depth : depth + 1]]
    return rounds[:count]


def _bend_view(scene: AugmentedScene) -> View:
    """A square around the first point of the route where the map has been moved by half a metre."""
    moved = np.abs(scene.centreline[:, 1] - scene.transform.unwarp(scene.centreline)[:, 1]) > 0.5
    at = int(np.argmax(moved)) if moved.any() else len(scene.centreline) // 2
    centre = scene.centreline[at]
    return View((float(centre[0]), float(centre[1])), HALF_WIDTH, HALF_WIDTH)


def _in_view(lines: list[Points], view: View) -> list[Points]:
    low = np.array(view.centre) - [view.half_width, view.half_height]
    high = np.array(view.centre) + [view.half_width, view.half_height]
    return [line for line in lines if (line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all()]
