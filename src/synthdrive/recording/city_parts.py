"""Which part of a city belongs to train and which to val: two sides of a line, with a band between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.maps.lane_map import LaneMap
from synthdrive.parameters.record_sample import CityParameters

_AXES = {"north": (1, 1.0), "east": (0, 1.0), "south": (1, -1.0), "west": (0, -1.0)}


@dataclass(frozen=True)
class CityParts:
    """The line that parts a city.

    Attributes:
        axis: coordinate that counts: 0 for x, 1 for y.
        sign: +1 where val is on the side of greater coordinates, else -1.
        line: m, the dividing line.
        half_band: m, on either side of the line that belongs to neither.
    """

    axis: int
    sign: float
    line: float
    half_band: float

    @classmethod
    def of(cls, lane_map: LaneMap, city: CityParameters, band: float) -> CityParts:
        """The line that leaves `city.val_share` of the lanes' length on `city.val_side`."""
        axis, sign = _AXES[city.val_side]
        segments = lane_map.segments
        steps = np.where(segments.valid[:, 1:, None], np.diff(segments.points, axis=1), 0.0)  # [L, 9, 2]
        weights = np.hypot(steps[..., 0], steps[..., 1]).ravel()
        places = sign * ((segments.points[:, 1:] + segments.points[:, :-1]) / 2)[..., axis].ravel()
        order = np.argsort(-places, kind="stable")
        within = np.searchsorted(np.cumsum(weights[order]), city.val_share * weights.sum())
        return cls(axis, sign, round(float(sign * places[order[min(within, len(order) - 1)]]), 1), band / 2)

    def beyond(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(...) float64, metres from the line into the split's side (negative: on the other side); xy is (..., 2)."""
        distance: npt.NDArray[np.float64] = self.sign * (xy[..., self.axis] - self.line)
        return distance if split == "val" else -distance

    def within(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(...) bool, in the split's part, clear of the band; xy is (..., 2) metres, NaN is outside."""
        inside: npt.NDArray[np.bool_] = self.beyond(split, xy) >= self.half_band
        return inside
