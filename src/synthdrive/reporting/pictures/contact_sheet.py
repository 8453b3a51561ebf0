"""A contact sheet of random synthetic windows: nothing is picked by hand."""

from __future__ import annotations

import numpy as np

from synthdrive.core.seeding import generator
from synthdrive.reporting.map_drawing import map_drawing
from synthdrive.reporting.picture import Panel, Picture
from synthdrive.reporting.pictures.scene_layers import add_others, add_scene_lanes, scene_view
from synthdrive.reporting.pictures.speed_scale import SPEED_EDGES, speed_legend, speeds_of
from synthdrive.scenes.scene_store import SceneStore


def contact_sheet(store: SceneStore, count: int, seed: int) -> Picture:
    """A picture of `count` windows drawn at random."""
    drawn = generator(seed, "contact sheet").permutation(len(store))[:count]
    sources = store.manifest["source"].to_pylist()
    panels = []
    for number, index in enumerate(np.sort(drawn), start=1):
        scene = store[int(index)]
        with map_drawing(scene_view(scene, 30.0), width=1.6) as panel:
            add_scene_lanes(panel, store, scene)
            add_others(panel, scene)
            agent = scene.agent.astype(np.float64)
            panel.add_by_scale([agent], [speeds_of(agent)], SPEED_EDGES, width=2.0)
            panel.add_dots(agent[:1], "ink", size=7.0)
        title = f"{scene.city} {sources[index]}, {speeds_of(agent).mean():.1f} m/s"
        panels.append(Panel(f"window-{number:02d}", title, panel.svg))
    augmented = sum(source == "augmented" for source in sources)
    return Picture(
        name="synthetic-windows",
        title="Random synthetic windows",
        caption=f"{len(panels)} of {len(store):,} windows of 5 s ({augmented / max(len(sources), 1):.0%} of all on "
        "augmented maps), drawn at random. A dot marks the start. Look for drives off the lane, jumps or "
        "impossible bends: there should be none.",
        panels=tuple(panels),
        legend=speed_legend(),
        panel_width=150,
    )
