"""The windows on which masked pre-training is watched: a few, always with the same mask and rotation."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from synthdrive.models.masked_autoencoder import MaskedAutoencoder, Reconstruction
from synthdrive.models.masking import Masking, draw_masking
from synthdrive.parameters.objective import ObjectiveParameters
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.seeding import generator, item_seed
from synthdrive.training.cards import RECONSTRUCTIONS
from synthdrive.training.data import Indices
from synthdrive.vectors.batch import collate

SAMPLES = 3  # of each kind


class FixedWindows:
    """`SAMPLES` map samples and as many trajectory samples, of the kinds that the objective trains.

    They are a function of seed and windows alone, so that arms of a seed show the same ones.

    Args:
        store: the windows.
        indices: (N,) those that are trained on.
        objective: which kinds there are, and how much is hidden.
        seed: the training seed.
    """

    file = RECONSTRUCTIONS

    def __init__(self, store: SceneStore, indices: Indices, objective: ObjectiveParameters, seed: int) -> None:
        share = objective.map_probability
        kinds = [is_map for is_map, trained in ((True, share > 0), (False, share < 1)) if trained]
        drawn = np.resize(generator(seed, "fixed windows").permutation(indices), (2, SAMPLES))  # repeats what is few
        rows = np.concatenate([drawn[0 if is_map else 1] for is_map in kinds]).tolist()
        self._batch = collate(store, rows, [item_seed(seed, "fixed window", row) for row in rows])
        is_map = torch.tensor(kinds).repeat_interleave(SAMPLES)
        lanes = self._batch.lanes
        hidden = draw_masking(self._batch.sample_seeds, lanes, 1.0, objective.mask_ratio).lanes
        self._masking = Masking(is_map, hidden & is_map[lanes.scene])

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
        masking = Masking(self._masking.is_map.to(device), self._masking.lanes.to(device))
        return cast(MaskedAutoencoder, model).reconstruct(self._batch.to(device), masking)
