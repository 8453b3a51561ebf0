"""Augmented scenes: the corridor of a route on the original and on the warped map, and the line that is driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene, AugmentedScenes
from synthdrive.core.seeding import item_seed
from synthdrive.reporting.map_drawing import Points, View, centrelines, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.scenes.lane_map import LaneMap

CLEAR = 5.0  # m, a displacement that can be seen
CANDIDATES = 200  # scenes among which those to show are sought
HALF_WIDTH = 70.0  # m, half the side of what is shown: the bend and the road around it


def corridors(scenes: AugmentedScenes, maps: Mapping[str, LaneMap], count: int, seed: int) -> Picture:
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
    """Augmented scenes in a random order, transform by transform; those whose bend is hard to see come last."""
    sources = scenes.manifest["source"].to_pylist()
    kinds = scenes.manifest["transform"].to_pylist()
    names = scenes.manifest["scene_id"].to_pylist()
    usable = [index for index in scenes.kept().tolist() if sources[index] == AUGMENTED]
    usable.sort(key=lambda index: item_seed(seed, "corridor", names[index]))
    chosen: list[int] = []
    for visible in (True, False):
        some = [index for index in usable[:CANDIDATES] if (_visible(scenes[index]) >= CLEAR) == visible]
        queues = [[index for index in some if kinds[index] == kind] for kind in sorted({kinds[i] for i in some})]
        chosen += [index for depth in range(len(some)) for queue in queues for index in queue[depth : depth + 1]]
    return chosen[:count]


def _displacement(scene: AugmentedScene) -> npt.NDArray[np.float64]:
    """(N,) metres by which the transform moves each point of the route."""
    moved: npt.NDArray[np.float64] = np.abs(scene.centreline[:, 1] - scene.transform.unwarp(scene.centreline)[:, 1])
    return moved


def _bend(scene: AugmentedScene) -> int:
    """Index of the first point of the route where the map has been moved by half a metre; its middle without any."""
    moved = _displacement(scene) > 0.5
    return int(np.argmax(moved)) if moved.any() else len(moved) // 2


def _visible(scene: AugmentedScene) -> float:
    """Largest displacement, metres, of the route inside the view."""
    near = np.abs(scene.centreline - scene.centreline[_bend(scene)]).max(axis=1) < HALF_WIDTH
    return float(_displacement(scene)[near].max())


def _bend_view(scene: AugmentedScene) -> View:
    centre = scene.centreline[_bend(scene)]
    return View((float(centre[0]), float(centre[1])), HALF_WIDTH, HALF_WIDTH)


def _in_view(lines: Sequence[Points], view: View) -> list[Points]:
    low = np.array(view.centre) - [view.half_width, view.half_height]
    high = np.array(view.centre) + [view.half_width, view.half_height]
    return [line for line in lines if (line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all()]
