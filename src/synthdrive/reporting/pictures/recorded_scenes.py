"""Recorded scenes as the forecaster sees them: lanes, traffic, two observed seconds and the three that follow."""

from __future__ import annotations

from synthdrive.reporting.map_drawing import map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.scene_layers import add_agent, add_others, add_scene_lanes, pick_scenes, scene_view
from synthdrive.scenes.scene_store import SceneStore


def recorded_scenes(store: SceneStore, split: str, count: int, seed: int) -> Picture:
    """A picture of `count` scenes of a split."""
    panels = []
    for number, index in enumerate(pick_scenes(store, count, seed), start=1):
        scene = store[index]
        with map_drawing(scene_view(scene, 45.0)) as panel:
            add_scene_lanes(panel, store, scene)
            add_others(panel, scene)
            add_agent(panel, scene)
        title = f"{scene.city}, scene {scene.scene_id}: {len(scene.track_types)} tracks, {len(scene.lane_rows)} lanes"
        panels.append(Panel(f"scene-{number}", title, panel.svg))
    return Picture(
        name="recorded-scenes",
        title="Recorded scenes",
        caption=f"Scenes of the {split} split, drawn at random in equal parts from left turns, straight drives and "
        "right turns. Look at whether the target agent keeps to a lane and whether the crop holds the road it takes.",
        panels=tuple(panels),
        legend=(
            LegendEntry("observed", "target agent, observed 2 s"),
            LegendEntry("truth", "target agent, next 3 s"),
            LegendEntry("others", "other traffic, observed"),
            LegendEntry("lane", "lane centrelines"),
        ),
    )
