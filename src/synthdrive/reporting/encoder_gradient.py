"""Does the reconstruction loss reach the encoder? Computed on a few windows, with both decoder masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from synthdrive.config.training import ALL_COLUMNS, MASKED, ModelParameters, ObjectiveParameters
from synthdrive.models.batch import collate
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.scenes.scene_store import SceneStore

WINDOWS = 8  # enough that both kinds of masking occur

# The paper's (docs/method.md 4): the check is about its decoder mask, whatever the variants of this run pre-train with.
OBJECTIVE = ObjectiveParameters(
    objective=MASKED,
    map_probability=0.7,
    mask_ratio=0.5,
    decoder_sees_encoder=True,
    random_rotation=True,
    targets=ALL_COLUMNS,
    history_only=False,
    modes=6,
    dead_mode_weight=0.05,
    lane_padding_in_loss=False,
    min_lanes=2,
)


@dataclass(frozen=True)
class GradientCheck:
    """How far a loss reaches.

    Attributes:
        tensors: number of the encoder's tensors.
        reached: how many of them have a gradient that is not zero everywhere.
    """

    tensors: int
    reached: int


def encoder_gradient(
    store: SceneStore, model: ModelParameters, objective: ObjectiveParameters
) -> dict[bool, GradientCheck]:
    """By `decoder_sees_encoder`: how many of a fresh encoder's tensors the loss of a few windows reaches."""
    batch = collate(store, range(min(WINDOWS, len(store))))
    checks = {}
    for sees in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = MaskedAutoencoder(model, replace(objective, decoder_sees_encoder=sees))
        network(batch).total.backward()
        gradients = [tensor.grad for tensor in network.encoder.parameters()]
        reached = sum(gradient is not None and bool(gradient.abs().max() > 0) for gradient in gradients)
        checks[sees] = GradientCheck(len(gradients), reached)
    return checks
