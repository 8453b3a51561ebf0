"""Pictures of synthetic driving: drives coloured by speed, random windows, and its motion beside recorded motion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.seeding import generator
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.reporting.charts import distribution_chart
from synthdrive.reporting.drawing import View, centrelines, map_drawing
from synthdrive.reporting.evidence import MotionEvidence
from synthdrive.reporting.picture import SCALE, LegendEntry, Panel, Picture, colour
from synthdrive.reporting.pictures.scenes import add_others, add_scene_lanes, scene_view
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore

Strings = npt.NDArray[np.str_]

MARGIN = 25.0  # m around the drives
SPEED_EDGES = (4.0, 6.0, 8.0, 10.0, 12.0)  # m/s; the released windows drive 3 to 14 m/s (docs/method.md 3.2)
LONG_TAILED = ("lateral_acceleration", "curvature", "heading_change")
QUANTITIES = {  # name: (axis label, unit, shown value per stored one, lower edge, upper edge, width of a bar)
    "speed": ("speed", "m/s", 1.0, 0.0, 22.0, 1.0),
    "acceleration": ("acceleration", "m/s\N{SUPERSCRIPT TWO}", 1.0, -4.0, 4.0, 0.25),
    "lateral_acceleration": ("lateral acceleration", "m/s\N{SUPERSCRIPT TWO}", 1.0, 0.0, 5.0, 0.25),
    "curvature": ("curvature", "1/m", 1.0, 0.0, 0.25, 0.0125),
    "heading_change": ("heading change from start to end", "degrees", 180.0 / np.pi, 0.0, 120.0, 7.5),
}


def synthetic_drives(store: SceneStore, maps: Mapping[str, LaneMap], count: int) -> Picture:
    """Draw `count` drives: the fastest of each scene with the most windows, original and augmented in turn."""
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
        "and accelerate after it; on straights it cruises at about nine tenths of its desired speed. Gaps are "
        "stretches already driven on an earlier route.",
        panels=tuple(panels),
        legend=speed_legend(),
        panel_width=240,
    )


def _busiest(scenes: Strings, sources: Strings, count: int) -> list[tuple[str, str]]:
    """Return (scene, source), original and augmented in turn, those with the most windows first, then by name."""
    queues = []
    for source in ("original", "augmented"):
        windows = Counter(scenes[sources == source].tolist())
        queues.append([(name, source) for name in sorted(windows, key=lambda name: (-windows[name], name))])
    rounds = [entry for depth in range(count) for queue in queues for entry in queue[depth : depth + 1]]
    return rounds[:count]


def contact_sheet(store: SceneStore, count: int, seed: int) -> Picture:
    """Draw `count` random windows."""
    drawn = generator(seed, "contact sheet").permutation(len(store))[:count]
    sources = store.manifest["source"].to_pylist()
    panels = []
    for number, index in enumerate(np.sort(drawn), start=1):
        scene = store[int(index)]
        with map_drawing(scene_view(scene, 30.0), width=1.6) as panel:
            add_scene_lanes(panel, store, scene)
            add_others(panel, scene, store.timing)
            agent = scene.agent.astype(np.float64)
            panel.add_by_scale([agent], [speeds_of(agent)], SPEED_EDGES, width=2.0)
            panel.add_dots(agent[:1], "ink", size=7.0)
        title = f"{scene.city} {sources[index]}, {speeds_of(agent).mean():.1f} m/s"
        panels.append(Panel(f"window-{number:02d}", title, panel.svg))
    augmented = sum(source == "augmented" for source in sources)
    return Picture(
        name="synthetic-windows",
        title="Random synthetic windows",
        caption=f"{len(panels)} of {len(store):,} windows of {store.timing.seconds:g} s "
        f"({augmented / max(len(sources), 1):.0%} of all on augmented maps), drawn at random. A dot marks the "
        "start. No window should leave its lane, jump or "
        "take an impossible bend.",
        panels=tuple(panels),
        legend=speed_legend(),
        panel_width=150,
    )


def motion(evidence: MotionEvidence, source: str) -> Picture:
    """Draw the distributions of recorded and synthetic motion; `source` names the recorded data in words."""
    panels = []
    for name, (label, unit, scale, low, high, step) in QUANTITIES.items():
        edges = np.arange(low, high + step / 2, step)
        pair = [
            (colour("recorded"), getattr(evidence.recorded, name) * scale),
            (colour("synthetic"), getattr(evidence.synthetic, name) * scale),
        ]
        title = f"{label.capitalize()}: Wasserstein distance {evidence.distances[name] * scale:.3g} {unit}"
        fraction = "fraction of drives (%)" if name == "heading_change" else "fraction of steps (%)"
        chart = distribution_chart(pair, edges, f"{label} ({unit})", fraction, log=name in LONG_TAILED)
        panels.append(Panel(name.replace("_", "-"), title, chart))
    return Picture(
        name="motion",
        title="Synthetic and recorded motion",
        caption=f"Focal agents of {source} (train split, {evidence.recorded_tracks:,} tracks) beside the synthetic "
        f"windows ({evidence.synthetic_tracks:,}). Both are smoothed in the same way; some tracking noise remains in "
        "the recorded acceleration. The outermost bins include all values beyond them. The larger the Wasserstein "
        "distance, the less the synthetic motion resembles the recorded motion. The claims ledger tests what the "
        "authors say.",
        panels=tuple(panels),
        legend=(LegendEntry("recorded", "recorded", "band"), LegendEntry("synthetic", "synthetic", "band")),
        panel_width=320,
        chart=True,
    )


def speeds_of(track: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Compute the (T,) speeds in m/s along a 10 Hz track, (T, 2) metres, by central differences."""
    step = np.gradient(np.asarray(track, dtype=np.float64), STEP_SECONDS, axis=0)
    return np.hypot(step[:, 0], step[:, 1])


def speed_legend() -> tuple[LegendEntry, ...]:
    """Return the legend of the six speed classes."""
    labels = [f"below {SPEED_EDGES[0]:.0f} m/s"]
    labels += [f"{low:.0f}-{high:.0f}" for low, high in zip(SPEED_EDGES, SPEED_EDGES[1:], strict=False)]
    labels.append(f"above {SPEED_EDGES[-1]:.0f} m/s")
    return tuple(LegendEntry(role, label) for role, label in zip(SCALE, labels, strict=True))
