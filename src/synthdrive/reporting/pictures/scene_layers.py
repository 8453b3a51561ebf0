"""What every picture of a scene has in common: its lanes, its traffic, and which scenes are shown."""

from __future__ import annotations

import numpy as np

from synthdrive.core.seeding import item_seed
from synthdrive.reporting.map_drawing import MapDrawing, View, centrelines
from synthdrive.scenes.scene_store import AGENT, LAST_OBSERVED, OBSERVED_STEPS, Scene, SceneStore

TURNS = ("left", "straight", "right")


def add_scene_lanes(panel: MapDrawing, store: SceneStore, scene: Scene) -> None:
    """The crop's centrelines, relative to the scene's origin."""
    panel.add_lanes([line - scene.origin for line in centrelines(store.lanes, scene.lane_rows)])


def add_others(panel: MapDrawing, scene: Scene) -> None:
    """Every track but AGENT's up to the last observed step, with a dot where it is then."""
    tracks, heads = [], []
    for k in range(len(scene.track_types)):
        if scene.track_types[k] == AGENT:
            continue
        steps = scene.step[scene.track_offsets[k] : scene.track_offsets[k + 1]]
        seen = scene.track(k)[steps <= LAST_OBSERVED]
        if len(seen):
            tracks.append(seen)
            heads.append(seen[-1])
    panel.add_lines(tracks, "others", width=1.0, zorder=2)
    if heads:
        panel.add_dots(np.array(heads), "others", size=7.0, zorder=3)


def add_agent(panel: MapDrawing, scene: Scene, future: bool = True) -> None:
    """AGENT: two observed seconds, where it is, and the three seconds to forecast."""
    if future:
        panel.add_line(scene.agent[LAST_OBSERVED:], "truth", width=2.2, zorder=5)
        panel.add_dots(scene.agent[-1:], "truth", size=16.0, zorder=6)
    panel.add_line(scene.agent[:OBSERVED_STEPS], "observed", width=2.2, zorder=6)
    panel.add_dots(scene.agent[LAST_OBSERVED : LAST_OBSERVED + 1], "observed", size=16.0, zorder=7)


def scene_view(scene: Scene, half_width: float) -> View:
    """The square in which a scene is shown: it holds AGENT's whole track."""
    return View.around(scene.agent.astype(np.float64), margin=8.0, smallest=half_width)


def pick_scenes(store: SceneStore, count: int, seed: int) -> list[int]:
    """`count` scenes in an order that depends on their names and the seed alone; takes turns, left, straight, right."""
    order = sorted(range(len(store)), key=lambda index: item_seed(seed, "picture", store.scene_ids[index]))
    if "turn" not in store.manifest.column_names:
        return order[:count]
    turns = store.manifest["turn"].to_pylist()
    queues = [[index for index in order if turns[index] == turn] for turn in TURNS]
    rounds = [index for depth in range(len(order)) for queue in queues for index in queue[depth : depth + 1]]
    return rounds[:count]
