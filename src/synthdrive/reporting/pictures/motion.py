"""How synthetic, recorded and released motion differ: distributions side by side, each with its distances."""

from __future__ import annotations

import numpy as np

from synthdrive.reporting.motion_evidence import MotionEvidence, ReleasedMotion
from synthdrive.reporting.palette import colour
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.charts import distribution_chart

LONG_TAILED = ("lateral_acceleration", "curvature", "heading_change")
QUANTITIES = {  # name: (axis label, unit, shown value per stored one, lower edge, upper edge, width of a bar)
    "speed": ("speed", "m/s", 1.0, 0.0, 22.0, 1.0),
    "acceleration": ("acceleration", "m/s\N{SUPERSCRIPT TWO}", 1.0, -4.0, 4.0, 0.25),
    "lateral_acceleration": ("lateral acceleration", "m/s\N{SUPERSCRIPT TWO}", 1.0, 0.0, 5.0, 0.25),
    "curvature": ("curvature", "1/m", 1.0, 0.0, 0.25, 0.0125),
    "heading_change": ("heading change in 5 s", "degrees", 180.0 / np.pi, 0.0, 120.0, 7.5),
}

BESIDE_RELEASED = ("speed", "acceleration", "curvature", "heading_change")
RELEASED_SETS = {"recorded": "recorded", "released": "truth", "synthetic": "synthetic"}  # name: role of its colour


def motion(evidence: MotionEvidence, source: str) -> Picture:
    """The distributions of both sets; `source` says what was recorded."""
    panels = []
    for name, (label, unit, scale, low, high, step) in QUANTITIES.items():
        edges = np.arange(low, high + step / 2, step)
        pair = [
            (colour("recorded"), getattr(evidence.recorded, name) * scale),
            (colour("synthetic"), getattr(evidence.synthetic, name) * scale),
        ]
        title = f"{label.capitalize()}: Wasserstein distance {evidence.distances[name] * scale:.3g} {unit}"
        share = "share of drives (%)" if name == "heading_change" else "share of steps (%)"
        chart = distribution_chart(pair, edges, f"{label} ({unit})", share, log=name in LONG_TAILED)
        panels.append(Panel(name.replace("_", "-"), title, chart))
    return Picture(
        name="motion",
        title="Synthetic and recorded motion",
        caption=f"Target agents of {source} (train split, {evidence.recorded_tracks:,} tracks) beside the synthetic "
        f"windows ({evidence.synthetic_tracks:,}), both smoothed alike against tracking noise, which still makes part "
        "of the recorded acceleration; the outermost bars hold what lies beyond. The larger a distance, the more of "
        "the recorded motion pre-training has not seen; the ledger above tests what the authors say of it.",
        panels=tuple(panels),
        legend=(LegendEntry("recorded", "recorded", "band"), LegendEntry("synthetic", "synthetic", "band")),
        panel_width=320,
        chart=True,
    )


def motion_beside_released(evidence: ReleasedMotion | None, source: str) -> Picture | None:
    """The released windows' distributions beside the synthetic and the recorded ones; None without released windows."""
    if evidence is None:
        return None
    panels = []
    for name in BESIDE_RELEASED:
        label, unit, scale, low, high, step = QUANTITIES[name]
        edges = np.arange(low, high + step / 2, step)
        samples = [(colour(role), getattr(evidence.sets[one], name) * scale) for one, role in RELEASED_SETS.items()]
        apart = ", ".join(
            f"{first}\N{EN DASH}{second} {distances[name] * scale:.2g}"
            for (first, second), distances in evidence.distances.items()
        )
        share = "share of drives (%)" if name == "heading_change" else "share of steps (%)"
        chart = distribution_chart(samples, edges, f"{label} ({unit})", share, log=name in LONG_TAILED)
        panels.append(Panel(name.replace("_", "-"), f"{label.capitalize()} ({unit}): {apart}", chart))
    tracks = evidence.tracks
    return Picture(
        name="released-motion",
        title="Motion beside the released windows",
        caption=f"{tracks['released']} windows of the authors' release beside {tracks['synthetic']:,} synthetic "
        f"windows and {tracks['recorded']:,} target agents of {source} (train split); each title gives the Wasserstein "
        "distance of every pair. The released files keep 6 significant digits of a coordinate, so the other "
        "two sets are rounded to as many in the city's frame, and all three are smoothed alike over 3.1 s, which "
        "leaves tracking noise in the recorded acceleration. A few released windows make a coarse distribution: a "
        "distance to them holds their choice too.",
        panels=tuple(panels),
        legend=(
            LegendEntry("truth", "released", "band"),
            LegendEntry("synthetic", "synthetic", "band"),
            LegendEntry("recorded", "recorded", "band"),
        ),
        panel_width=320,
        chart=True,
    )
