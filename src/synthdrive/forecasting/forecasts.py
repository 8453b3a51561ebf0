"""Forecasts as an artifact: six trajectories with probabilities for every scene, readable without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.core.artifacts import read_arrays, read_json, read_table, write_arrays, write_json, write_table
from synthdrive.core.errors import InputError
from synthdrive.scenes.scene_store import SceneStore

MODES = 6  # trajectories in a forecast, the benchmark's K

ARRAYS, MANIFEST, METADATA = "forecasts.safetensors", "manifest.parquet", "metadata.json"

_ARRAYS = {"trajectories": ("float32", 4), "probabilities": ("float32", 2), "objective": ("float32", 1)}
_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of S scenes.

    Attributes:
        scene_ids: (S,) names of the scenes, in the order of the arrays.
        trajectories: (S, 6, T, 2) float32 metres, city axes, relative to each scene's origin; 0.1 s apart.
        probabilities: (S, 6) float32, each row descending with sum 1.
        objective: (S,) float32 metres, the expected error of the goal set; 0 for forecasts without goal sets.

    Raises:
        InputError: shapes do not match, a value is not finite, or probabilities are invalid; names the scene.
    """

    scene_ids: Sequence[str]
    trajectories: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    objective: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        size = len(self.scene_ids)
        steps = self.trajectories.shape[2] if self.trajectories.ndim == 4 else 0
        shapes = {"trajectories": (size, MODES, max(steps, 1), 2), "probabilities": (size, MODES), "objective": (size,)}
        for name, shape in shapes.items():
            array: npt.NDArray[Any] = getattr(self, name)
            if array.shape != shape or str(array.dtype) != "float32":
                raise InputError(f"forecasts: {name}", f"{array.dtype} of shape {array.shape}", f"float32 of {shape}")
        wrong = {
            "a value that is not finite": ~(
                np.isfinite(self.trajectories).all(axis=(1, 2, 3)) & np.isfinite(self.objective)
            ),
            "probabilities that do not fall or do not sum to 1": ~(
                (self.probabilities >= 0).all(axis=1)
                & (np.diff(self.probabilities, axis=1) <= 0).all(axis=1)
                & (np.abs(self.probabilities.sum(axis=1, dtype=np.float64) - 1) < _SUM_TOLERANCE)
            ),
        }
        for problem, scenes in wrong.items():
            if scenes.any():
                where = f"forecasts: scene {self.scene_ids[int(scenes.argmax())]}"
                raise InputError(where, problem, "finite trajectories with falling probabilities that sum to 1")

    def __len__(self) -> int:
        return len(self.scene_ids)

    @classmethod
    def ranked(
        cls,
        scene_ids: Sequence[str],
        trajectories: npt.NDArray[np.floating[Any]],
        weights: npt.NDArray[np.floating[Any]],
        objective: npt.NDArray[np.floating[Any]] | None = None,
    ) -> Self:
        """Make forecasts from trajectories (S, 6, T, 2) in any order and weights (S, 6), not all zero in a scene."""
        order = np.argsort(-weights, axis=1, kind="stable")
        probabilities = np.take_along_axis(weights / weights.sum(axis=1, keepdims=True), order, axis=1)
        return cls(
            list(scene_ids),
            trajectories[np.arange(len(order))[:, None], order].astype(np.float32),
            probabilities.astype(np.float32),
            np.zeros(len(order), np.float32) if objective is None else objective.astype(np.float32),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Concatenate forecasts."""
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS)
        return cls([scene_id for part in parts for scene_id in part.scene_ids], *arrays)

    def save(self, directory: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the forecasts and their metadata into an existing directory."""
        write_arrays(directory / ARRAYS, {name: getattr(self, name) for name in _ARRAYS})
        write_table(directory / MANIFEST, pa.table({"scene_id": pa.array(self.scene_ids, pa.string())}))
        write_json(directory / METADATA, dict(metadata or {}))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read forecasts written by `save`; raise InputError, naming the file, array or scene, if they are damaged."""
        directory = Path(directory)
        arrays, _ = read_arrays(directory / ARRAYS, _ARRAYS)
        table = read_table(directory / MANIFEST, {"scene_id": pa.string()})
        if table.num_rows != len(arrays["trajectories"]):
            found = f"{table.num_rows} rows"
            raise InputError(directory / MANIFEST, found, f"{len(arrays['trajectories'])}, as in {ARRAYS}")
        return cls(table["scene_id"].to_pylist(), *(arrays[name] for name in _ARRAYS))


def load_forecast_metadata(directory: Path) -> dict[str, Any]:
    """Read the metadata of forecasts: stage, variant, seed, parameters."""
    metadata: dict[str, Any] = read_json(Path(directory) / METADATA)
    return metadata


def check_scenes(forecasts: Forecasts, store: SceneStore) -> None:
    """Raise InputError unless the forecasts have the scenes of the store, in its order, and as many future steps."""
    steps, wanted = forecasts.trajectories.shape[2], store.timing.future_steps
    if steps != wanted:
        raise InputError("forecasts", f"{steps} steps", f"{wanted}, the number of future steps in the scene store")
    if list(forecasts.scene_ids) == store.scene_ids:
        return
    pairs = zip(forecasts.scene_ids, store.scene_ids, strict=False)
    first = next((pair for pair in pairs if pair[0] != pair[1]), None)
    found = f"{len(forecasts)} scenes" if first is None else f"scene {first[0]!r}"
    expected = f"{len(store)} scenes" if first is None else f"scene {first[1]!r}, as in the scene store"
    raise InputError("forecasts", found, expected, "Forecast these scenes, or score with the forecast scenes.")
