"""Synthetic drives along whole routes, coloured by speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.map_drawing import View, centrelines, map_drawing
from synthdrive.reporting.picture import Panel, Picture
from synthdrive.reporting.pictures.speed_scale import SPEED_EDGES, speed_legend, speeds_of
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore

Strings = npt.NDArray[np.str_]

MARGIN = 25.0  # m around the drives


def synthetic_drives(store: SceneStore, maps: Mapping[str, LaneMap], count: int) -> Picture:
    """`count` drives: the fastest of the scenes with the most windows, original and augmented in turn, a panel each."""
    scenes = np.array(store.manifest["scene"].to_pylist())
    sources = np.array(store.manifest["source"].to_pylist())
    speeds = store.manifest["desired_speed"].to_numpy()
    panels = []
    for number, (name, source) in enumerate(_busiest(scenes, sources, count), start=1):
        speed = speeds[scenes == name].max()
        indices = np.flatnonzero((scenes == name) & (speeds == speed))
        tracks = [store[int(index)].agent.astype(np.float64) + store.origins[index] for index in indices]
        view = View.around(np.concatenate(tracks), MARGIN, smallest=60.0)
        with map_drawing(view, width=3.0) as panel:
            if source == "original":
                lane_map = maps[store.cities[indices[0]]]
                near = lane_map.lanes_near(*view.centre, view.half_width)
                panel.add_lanes(centrelines(lane_map.segments, near), width=0.7)
            else:
                lanes = np.unique(np.concatenate([store[int(index)].lane_rows for index in indices]))
                panel.add_lanes(centrelines(store.lanes, lanes), width=0.7)
            panel.add_by_scale(tracks, [speeds_of(track) for track in tracks], SPEED_EDGES, width=2.2)
        title = f"{name} ({source} map): {len(indices)} windows, desired speed {speed:.0f} m/s"
        panels.append(Panel(f"drives-{number}", title, panel.svg))
    return Picture(
        name="synthetic-drives",
        title="Synthetic drives",
        caption="All windows of one drive, coloured by speed. The driver should slow down before a bend, not in it, "
        "and pick up speed behind it; on straights it cruises at about nine tenths of its desired speed. Gaps are "
        "stretches that an earlier route has driven.",
        panels=tuple(panels),
        legend=speed_legend(),
        panel_width=240,
    )


def _busiest(scenes: Strings, sources: Strings, count: int) -> list[tuple[str, str]]:
    """(scene, source) in the order original, augmented, original, ...: most windows first, names decide ties."""
    queues = []
    for source in ("original", "augmented"):
        windows = Counter(scenes[sources == source].tolist())
        queues.append([(name, source) for name in sorted(windows, key=lambda name: (-windows[name], name))])
    rounds = [entry for depth in range(count) for queue in queues for entry in queue[depth : depth + 1]]
    return rounds[:count]
