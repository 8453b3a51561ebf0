"""The speed scale that the pictures of synthetic drives share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.palette import SCALE
from synthdrive.reporting.picture import LegendEntry
from synthdrive.scenes.scene_store import STEP_SECONDS

SPEED_EDGES = (4.0, 6.0, 8.0, 10.0, 12.0)  # m/s; the released windows drive 3 to 14 m/s (docs/method.md 3.2)


def speeds_of(track: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """(T,) speed in m/s at each point of a 10 Hz track, (T, 2) metres, by central differences."""
    step = np.gradient(np.asarray(track, dtype=np.float64), STEP_SECONDS, axis=0)
    return np.hypot(step[:, 0], step[:, 1])


def speed_legend() -> tuple[LegendEntry, ...]:
    """What the six colours mean."""
    labels = [f"below {SPEED_EDGES[0]:.0f} m/s"]
    labels += [f"{low:.0f}-{high:.0f}" for low, high in zip(SPEED_EDGES, SPEED_EDGES[1:], strict=False)]
    labels.append(f"above {SPEED_EDGES[-1]:.0f} m/s")
    return tuple(LegendEntry(role, label) for role, label in zip(SCALE, labels, strict=True))
