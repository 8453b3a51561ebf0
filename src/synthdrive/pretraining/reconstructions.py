"""A few fixed windows, always masked and rotated alike: how the network fills in what is hidden, epoch by epoch."""

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
    """B samples with M lanes in all, N of them hidden; T samples hide the focal agent. Metres, turned agent frames.

    The last three fields have a row for the start of training, then one for each of E epochs.

    Attributes:
        is_map: (B,) bool; False: the focal agent is hidden.
        lane_scene: (M,) int64, each lane's sample.
        lane_hidden: (M,) bool.
        lane_points: (M, 9, 2) true end points of each vector, `lane_valid` (M, 9) bool.
        agent_points: (B, V, 2) true trajectory from its second row on.
        lane_predicted: (1 + E, N, 9, 2) the hidden lanes as the network draws them.
        agent_predicted: (1 + E, T, modes, V, 2).
        agent_best: (1 + E, T) int64, mode with the smallest mean distance to the truth.
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
        """Read the file that pre-training wrote.

        Raises:
            InputError: it is missing or damaged, or its arrays do not belong together.
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
            raise InputError(path, "no epoch, or lanes of no sample", "what pre-training keeps")
        if not ((found.agent_best >= 0) & (found.agent_best < modes)).all():
            raise InputError(f"{path}: agent_best", "a mode that is not there", f"0 to {modes - 1}")
        return found

    @property
    def epochs(self) -> int:
        """E, epochs of training; 0 where only the start is kept."""
        return len(self.agent_predicted) - 1


SAMPLES = 3  # of each kind


class FixedWindows:
    """`SAMPLES` map samples and as many trajectory samples, of the kinds that the objective trains.

    They are a function of seed and windows alone, so that variants of a seed show the same ones.

    Args:
        store: the windows.
        indices: (N,) those that are trained on.
        objective: which kinds there are, and how much is hidden.
        seed: the training seed.
    """

    file = RECONSTRUCTIONS

    def __init__(self, store: SceneStore, indices: Indices, objective: ObjectiveParameters, seed: int) -> None:
        fraction = objective.map_probability
        kinds = [is_map for is_map, trained in ((True, fraction > 0), (False, fraction < 1)) if trained]
        drawn = np.resize(generator(seed, "fixed windows").permutation(indices), (2, SAMPLES))  # repeats what is few
        rows = np.concatenate([drawn[0 if is_map else 1] for is_map in kinds]).tolist()
        self._batch = collate(store, rows, [item_seed(seed, "fixed window", row) for row in rows])
        is_map = torch.tensor(kinds).repeat_interleave(SAMPLES)
        lanes = self._batch.lanes
        drawn_masking = draw_masking(self._batch.sample_seeds, lanes, 1.0, objective.mask_ratio)
        self._masking = replace(drawn_masking, is_map=is_map, lanes=drawn_masking.lanes & is_map[lanes.scene])

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """How the model fills in what is hidden; see `Reconstructions`."""
        made = self._reconstruct(model)
        hides_agent = ~made.is_map
        return {
            "lane_predicted": made.lane_predicted[made.lane_hidden].float(),
            "agent_predicted": made.agent_predicted[hides_agent].float(),
            "agent_best": made.agent_best[hides_agent],
        }

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """The truth and what of it is hidden; see `Reconstructions`."""
        made = self._reconstruct(model)
        names = ("is_map", "lane_scene", "lane_hidden", "lane_points", "lane_valid", "agent_points")
        return {name: getattr(made, name) for name in names}

    def _reconstruct(self, model: nn.Module) -> Reconstruction:
        device = next(model.parameters()).device
        return cast(Reconstructor, model).reconstruct(self._batch.to(device), self._masking.to(device))
