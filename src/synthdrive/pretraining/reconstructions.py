"""Reconstructions of a few windows with fixed masking and rotation, after every epoch of pre-training."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthdrive.config.training import ObjectiveParameters
from synthdrive.core.artifacts import read_arrays
from synthdrive.core.errors import InputError
from synthdrive.core.seeding import generator, item_seed
from synthdrive.models.batch import collate
from synthdrive.pretraining.masking import draw_masking
from synthdrive.pretraining.reconstructor import Reconstruction, Reconstructor
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import RECONSTRUCTIONS
from synthdrive.training.data import Indices

KINDS = {
    "is_map": ("bool", 1),
    "lane_scene": ("int64", 1),
    "lane_hidden": ("bool", 1),
    "lane_points": ("float32", 3),
    "lane_valid": ("bool", 2),
    "agent_points": ("float32", 3),
    "lane_predicted": ("float32", 4),
    "agent_predicted": ("float32", 5),
    "agent_best": ("int64", 2),
}  # dtype and dimensions of each array


@dataclass(frozen=True)
class Reconstructions:
    """Reconstructions of B samples with M lanes, of which N are hidden; T samples hide the focal agent.

    Positions are in metres in the agent frame, turned by the sample's angle. The last three fields have a row for the
    start of training and one for each of E epochs.

    Attributes:
        is_map: (B,) bool, True if lanes of the sample are hidden, False if the focal agent is.
        lane_scene: (M,) int64, the sample of each lane.
        lane_hidden: (M,) bool, True at hidden lanes.
        lane_points: (M, 9, 2) true end points of the lanes' vectors, `lane_valid` (M, 9) bool.
        agent_points: (B, V, 2) true trajectory of the focal agent, from its second row.
        lane_predicted: (1 + E, N, 9, 2) reconstructed end points of the hidden lanes.
        agent_predicted: (1 + E, T, modes, V, 2) reconstructed trajectories of the hidden focal agents.
        agent_best: (1 + E, T) int64, mode with the smallest mean distance from the truth.
    """

    is_map: npt.NDArray[np.bool_]
    lane_scene: npt.NDArray[np.int64]
    lane_hidden: npt.NDArray[np.bool_]
    lane_points: npt.NDArray[np.float32]
    lane_valid: npt.NDArray[np.bool_]
    agent_points: npt.NDArray[np.float32]
    lane_predicted: npt.NDArray[np.float32]
    agent_predicted: npt.NDArray[np.float32]
    agent_best: npt.NDArray[np.int64]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by pre-training.

        Raises:
            InputError: the file is missing or damaged, or its arrays do not match.
        """
        arrays: dict[str, Any] = read_arrays(path, KINDS)[0]
        found = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        samples, lanes, hidden, agents = (
            len(found.is_map), len(found.lane_scene), int(found.lane_hidden.sum()), int((~found.is_map).sum()),
        )  # fmt: skip
        rows, modes = found.agent_predicted.shape[0], found.agent_predicted.shape[2]
        steps = found.agent_points.shape[1]
        vectors = found.lane_points.shape[1]
        wanted = {
            "lane_hidden": (lanes,),
            "lane_points": (lanes, vectors, 2),
            "lane_valid": (lanes, vectors),
            "agent_points": (samples, steps, 2),
            "lane_predicted": (rows, hidden, vectors, 2),
            "agent_predicted": (rows, agents, modes, steps, 2),
            "agent_best": (rows, agents),
        }
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise InputError(f"{path}: {name}", f"shape {arrays[name].shape}", f"shape {shape}")
        if not rows or not ((found.lane_scene >= 0) & (found.lane_scene < samples)).all():
            raise InputError(path, "no rows, or lanes of an unknown sample", "reconstructions written by pre-training")
        if not ((found.agent_best >= 0) & (found.agent_best < modes)).all():
            raise InputError(f"{path}: agent_best", "an unknown mode", f"0 to {modes - 1}")
        return found

    @property
    def epochs(self) -> int:
        """Number of epochs E; 0 if only the start of training is stored."""
        return len(self.agent_predicted) - 1


SAMPLES = 3  # of each kind


class FixedWindows:
    """Examples to watch during pre-training: `SAMPLES` of each kind, map or trajectory, that the objective trains.

    They depend only on seed and windows, so that all variants of a seed show the same ones.

    Args:
        store: the windows.
        indices: (N,) windows that are trained on.
        objective: parameters of masking.
        seed: training seed.
    """

    file = RECONSTRUCTIONS

    def __init__(self, store: SceneStore, indices: Indices, objective: ObjectiveParameters, seed: int) -> None:
        fraction = objective.map_probability
        kinds = [is_map for is_map, trained in ((True, fraction > 0), (False, fraction < 1)) if trained]
        # np.resize repeats windows if there are too few.
        drawn = np.resize(generator(seed, "fixed windows").permutation(indices), (2, SAMPLES))
        rows = np.concatenate([drawn[0 if is_map else 1] for is_map in kinds]).tolist()
        self._batch = collate(store, rows, [item_seed(seed, "fixed window", row) for row in rows])
        is_map = torch.tensor(kinds).repeat_interleave(SAMPLES)
        lanes = self._batch.lanes
        drawn_masking = draw_masking(self._batch.sample_seeds, lanes, 1.0, objective.mask_ratio)
        self._masking = replace(drawn_masking, is_map=is_map, lanes=drawn_masking.lanes & is_map[lanes.scene])

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's reconstructions; see `Reconstructions`."""
        made = self._reconstruct(model)
        hides_agent = ~made.is_map
        return {
            "lane_predicted": made.lane_predicted[made.lane_hidden].float(),
            "agent_predicted": made.agent_predicted[hides_agent].float(),
            "agent_best": made.agent_best[hides_agent],
        }

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the truth and the masking; see `Reconstructions`."""
        made = self._reconstruct(model)
        names = ("is_map", "lane_scene", "lane_hidden", "lane_points", "lane_valid", "agent_points")
        return {name: getattr(made, name) for name in names}

    def _reconstruct(self, model: nn.Module) -> Reconstruction:
        device = next(model.parameters()).device
        return cast(Reconstructor, model).reconstruct(self._batch.to(device), self._masking.to(device))
