"""Which scenes of a store are of use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.scenes.scene_store import SceneStore


def scenes_with_lanes(store: SceneStore, minimum: int) -> npt.NDArray[np.int64]:
    """Indices, rising, of the scenes with at least `minimum` lanes in their crop (docs/method.md 8.8)."""
    return np.flatnonzero(np.diff(store.lane_offsets) >= minimum).astype(np.int64)
