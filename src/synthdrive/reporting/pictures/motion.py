"""How synthetic and recorded motion differ: four distributions side by side, each with its distance."""

from __future__ import annotations

import numpy as np

from synthdrive.reporting.motion_evidence import MotionEvidence
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
