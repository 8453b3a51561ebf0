"""Synthetic windows keep away from the scenes that forecasts are judged by (`synthesize.exclusion_radius`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdrive.augmentation.transforms import Transform
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.windows import agent_tracks

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Exclusion:
    """Places that no window may come near.

    Attributes:
        places: by city, (P, 2) metres, city frame.
        radius: metres.
    """

    places: Mapping[str, Floats]
    radius: float

    @classmethod
    def of(cls, judged: SceneStore, radius: float) -> Self:
        """Every position, observed and future, of the judged scenes' focal agents."""
        tracks = agent_tracks(judged) + judged.origins[:, None]  # [S, 50, 2]
        cities = np.array(judged.cities)
        return cls({str(city): tracks[cities == city].reshape(-1, 2) for city in np.unique(cities)}, radius)

    def near(self, city: str, xy: Floats, transform: Transform) -> npt.NDArray[np.bool_]:
        """(W,) bool: does a window come within the radius of a place at any of its steps?

        Args:
            city: of the windows.
            xy: (W, T, 2) positions, metres, city frame, on the map as the transform leaves it.
            transform: undone before the distance is taken: a warped street is still the street of its place.
        """
        if city not in self.places or not len(xy):
            return np.zeros(len(xy), dtype=np.bool_)
        distance, _ = cKDTree(self.places[city]).query(transform.unwarp(xy), distance_upper_bound=self.radius)
        near: npt.NDArray[np.bool_] = np.isfinite(distance).any(axis=1)
        return near
