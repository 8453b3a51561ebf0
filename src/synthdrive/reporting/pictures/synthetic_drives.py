"""Synthetic drives along whole routes, coloured by speed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from synthdrive.reporting.map_drawing import View, centrelines, map_drawing
from synthdrive.reporting.picture import Panel, Picture
from synthdrive.reporting.pictures.speed_scale import SPEED_EDGES, speed_legend, speeds_of
from synthdrive.scenes.scene_store import SceneStore

MARGIN = 25.0  # m around the drives


def synthetic_drives(store: SceneStore, count: int) -> Picture:
    """`count` places: the scenes with the most windows, original and augmented in turn, one panel each."""
    scenes = np.array(store.manifest["scene"].to_pylist())
    sources = np.array(store.manifest["source"].to_pylist())
    panels = []
    for number, (name, source) in enumerate(_busiest(scenes, sources, count), start=1):
        indices = np.flatnonzero(scenes == name)
        tracks = [store[int(index)].agent.astype(np.float64) + store.origins[index] for index in indices]
        lanes = np.unique(np.concatenate([store[int(index)].lane_rows for index in indices]))
        with map_drawing(View.around(np.concatenate(tracks), MARGIN, smallest=60.0, aspect=1.0), width=3.0) as panel:
            panel.add_lanes(centrelines(store.lanes, lanes), width=0.8)
            panel.add_by_scale(tracks, [speeds_of(track) for track in tracks], SPEED_EDGES, width=1.6)
        speeds = sorted(set(store.manifest["desired_speed"].take(indices).to_pylist()))
        driven = f"{speeds[0]:.0f}" if len(speeds) == 1 else f"{speeds[0]:.0f} to {speeds[-1]:.0f}"
        title = f"{name} ({source} map): {len(indices)} windows, desired speed {driven} m/s"
        panels.append(Panel(f"drives-{number}", title, panel.svg))
    return Picture(
        name="synthetic-drives",
        title="Synthetic drives",
        caption="All windows of one route, coloured by speed. The driver should slow down before a bend, not in it, "
        "and pick up speed behind it; on straights it cruises at about nine tenths of its desired speed.",
        panels=tuple(panels),
        legend=speed_legend(),
        panel_width=320,
    )


def _busiest(scenes: np.ndarray, sources: np.ndarray, count: int) -> list[tuple[str, str]]:
    """(scene, source) in the order original, augmented, original, ...: most windows first, names decide ties."""
    queues = []
    for source in ("original", "augmented"):
        windows = Counter(scenes[sources == source].tolist())
        queues.append([(name, source) for name in sorted(windows, key=lambda name: (-windows[name], name))])
    rounds = [entry for depth in range(count) for queue in queues for entry in queue[depth : depth + 1]]
    return rounds[:count]
