"""Losses on held-out windows of a pre-trained network, and of predictors without an encoder (docs/objectives.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from synthdrive.config.training import PretrainParameters
from synthdrive.core.seeding import generator, item_seed
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.models.batch import Batch, collate
from synthdrive.models.polylines import ACTOR_PREVIOUS, ACTOR_XY, LANE_PREVIOUS, LANE_XY
from synthdrive.pretraining.masking import draw_masking
from synthdrive.pretraining.reconstructor import Prediction, Reconstructor
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.data import Indices, SceneBatches, Sharing
from synthdrive.training.optimisation import Adam, learning_rate

MOST_WINDOWS = 512  # a hundred take half a second on a CPU

_LANE_BEFORE, _LANE_POINT = (1, 0), 6  # positions in LANE_COLUMNS; x, y
_ACTOR_TIME, _ACTOR_ROW = 4, 9  # positions in ACTOR_COLUMNS

Losses = dict[str, dict[str, float]]


@dataclass(frozen=True)
class WindowSelection:
    """Some windows of a scene store.

    Attributes:
        store: folder of the scene store.
        indices: (N,) its windows, ascending.
    """

    store: Path
    indices: Indices


def measure_reconstruction(
    network: Reconstructor,
    untrained: Callable[[], Reconstructor],
    parameters: PretrainParameters,
    trained: WindowSelection,
    held_out: WindowSelection,
    seed: int,
    accelerator: Accelerator,
) -> dict[str, dict[str, float] | None]:
    """Return losses on held-out windows of the network, of a blind decoder, and of predictors without a network.

    Args:
        network: the pre-trained network.
        untrained: function that makes the same network before training.
        parameters: parameters of the pre-training.
        trained: windows on which the network was trained. The blind decoder is trained on them in the same steps.
        held_out: windows of other routes or places; at most `MOST_WINDOWS` of them are drawn, always the same.
        seed: training seed.
        accelerator: accelerator of this process.

    Returns:
        For `lanes` and `trajectory`, None if the variant does not reconstruct them, otherwise `loss`, `blind`, `gain`
        (1 - loss / blind, the encoder gain), and the losses of simple predictors, see `lane_floors`,
        `trajectory_floors` and `future_floors`. Losses are means over samples of the objective's error, without the
        dead-mode term.
    """
    store = SceneStore.load(held_out.store)
    windows = np.sort(generator(0, "floors").permutation(held_out.indices)[:MOST_WINDOWS])
    batches = [
        _fixed_batch(store, windows[first : first + parameters.micro_batch_size].tolist()).to(accelerator.device)
        for first in range(0, len(windows), parameters.micro_batch_size)
    ]
    blind = train_blind_decoder(untrained(), parameters, trained, seed, accelerator)
    seeing = held_out_losses(network, batches, accelerator, blind=False)
    unseeing = held_out_losses(blind, batches, accelerator, blind=True)
    found: dict[str, dict[str, float] | None] = {"lanes": None, "trajectory": None}
    for kind, losses in seeing.items():
        without = unseeing[kind]["loss"]
        found[kind] = losses | {"blind": without, "gain": 1.0 - losses["loss"] / without if without > 0 else 0.0}
    return found


def train_blind_decoder(
    network: Reconstructor,
    parameters: PretrainParameters,
    windows: WindowSelection,
    seed: int,
    accelerator: Accelerator,
) -> Reconstructor:
    """Train a network's decoders without running its encoder, on the same samples and steps as in pre-training."""
    sharing = Sharing(parameters.global_batch_size, parameters.micro_batch_size)
    batches = SceneBatches(windows.store, windows.indices, seed, sharing, collate)
    network.to(accelerator.device)
    adam = Adam(network.named_parameters(), parameters.ema_decay)
    for epoch in range(parameters.epochs):
        for part, batch in batches.epoch(epoch):
            with accelerator.autocast():
                losses = network.losses(network.predict(batch.to(accelerator.device), blind=True))
            torch.autograd.backward(losses.total * part.weight)
            if part.last:
                if parameters.max_grad_norm:
                    clip_grad_norm_(network.parameters(), parameters.max_grad_norm)
                adam.step(learning_rate(epoch * batches.steps + part.step, batches.steps, parameters))
                adam.zero_grad()
    adam.take_average()
    return network


@torch.no_grad()
def held_out_losses(network: Reconstructor, batches: list[Batch], accelerator: Accelerator, blind: bool) -> Losses:
    """Return mean losses over the samples by kind: `loss` and, unless `blind`, those of the simple predictors."""
    training = network.training
    network.eval()
    fraction, both = network.objective.map_probability, network.hides_both
    kinds = [kind for kind, trained in (("lanes", fraction > 0), ("trajectory", fraction < 1)) if trained or both]
    found: Losses = {}
    for kind in kinds:
        losses: dict[str, list[Tensor]] = {}
        for batch in batches:
            hides_lanes = float(kind == "lanes" or both)
            masking = draw_masking(batch.sample_seeds, batch.lanes, hides_lanes, network.objective.mask_ratio)
            with accelerator.autocast():
                prediction = network.predict(batch, masking=masking, blind=blind)
            floors = {} if blind else dict(_simple_predictions(prediction, kind, network.timing.last_observed))
            for name, other in {"loss": prediction, **floors}.items():
                losses.setdefault(name, []).append(_losses(network, other, kind))
        found[kind] = {name: float(torch.cat(values).double().mean()) for name, values in losses.items()}
    network.train(training)
    return found


def _losses(network: Reconstructor, prediction: Prediction, kind: str) -> Tensor:
    """Return the losses (B,) of the samples."""
    return network.lane_losses(prediction) if kind == "lanes" else network.mode_losses(prediction).amin(dim=1)


def _simple_predictions(prediction: Prediction, kind: str, last_observed: int) -> Iterator[tuple[str, Prediction]]:
    if kind == "lanes":
        vectors = prediction.lanes.take(prediction.masking.hidden).vectors
        for name, lanes in lane_floors(vectors).items():
            yield name, replace(prediction, hidden_lanes=lanes)
    else:
        agents = prediction.agents.take(prediction.agent_rows)
        guesses = future_floors if prediction.first_hidden else trajectory_floors
        for name, tracks in guesses(agents.vectors, last_observed).items():
            yield name, replace(prediction, hidden_agents=tracks[:, None])


def lane_floors(vectors: Tensor) -> Mapping[str, Tensor]:
    """Return simple predictions for lanes (N, 9, 12) from their first vectors, which the queries contain.

    Returns:
        `zero`: zeros; `repeat`: the first vector, repeated; `straight`: copies of it, laid end to end.
    """
    first = vectors[:, :1]
    step = torch.zeros_like(first)
    move = first[..., LANE_XY] - first[..., LANE_PREVIOUS]
    for place in (LANE_XY, LANE_PREVIOUS, _LANE_BEFORE):
        step[..., place] = move
    step[..., _LANE_POINT] = 1.0
    count = torch.arange(vectors.shape[1], device=vectors.device, dtype=vectors.dtype)[:, None]
    return {
        "zero": torch.zeros_like(vectors),
        "repeat": first.expand_as(vectors),
        "straight": first + count * step,
    }


def trajectory_floors(vectors: Tensor, last_observed: int) -> Mapping[str, Tensor]:
    """Return simple predictions for complete trajectories (T, V, 10) from what their queries contain.

    This is the first vector and, by the choice of the frame, the focal agent's position at the last observed step, the
    origin.

    Returns:
        `zero`: zeros; `constant_velocity`: the velocity of the first vector; `quadratic`: a parabola through the three
        known points.
    """
    first = vectors[:, :1]
    start, move = first[..., ACTOR_PREVIOUS], first[..., ACTOR_XY] - first[..., ACTOR_PREVIOUS]
    count = torch.arange(vectors.shape[1], device=vectors.device, dtype=vectors.dtype)[:, None]
    # start + move t + bend t (t - 1) passes through the first two points, and the origin at the last observed step
    bend = -(start + move * last_observed) / (last_observed * (last_observed - 1))
    guesses = {"zero": torch.zeros_like(vectors)}
    for name, weight in (("constant_velocity", 0.0), ("quadratic", 1.0)):
        guess = first.expand_as(vectors).clone()
        for place, step in ((ACTOR_PREVIOUS, count), (ACTOR_XY, count + 1.0)):
            guess[..., place] = start + move * step + weight * bend * step * (step - 1.0)
        guess[..., _ACTOR_TIME] = first[..., _ACTOR_TIME] + count[:, 0] * STEP_SECONDS
        guess[..., _ACTOR_ROW] = first[..., _ACTOR_ROW] + count[:, 0]
        guesses[name] = guess
    return guesses


def future_floors(vectors: Tensor, last_observed: int) -> Mapping[str, Tensor]:
    """Return simple predictions of the positions of trajectories (T, V, 10) after the last observed step.

    Returns:
        `zero`: zeros; `constant_velocity`: the velocity of the last observed vector; `quadratic`: a parabola through
        the positions 1 s and 0.5 s before the last observed step and at it.
    """
    positions = vectors[..., ACTOR_XY]  # [T, V, 2], at steps 1 to V
    now, before, long_before = (positions[:, [last_observed - 1 - ago]] for ago in (0, 5, 10))
    count = torch.arange(vectors.shape[1], device=vectors.device, dtype=vectors.dtype)[:, None] - (last_observed - 1)
    velocity = now - positions[:, [last_observed - 2]]
    bend = (now - 2.0 * before + long_before) / 50.0
    slope = (now - before) / 5.0 + 5.0 * bend
    guesses = {"zero": torch.zeros_like(vectors)}
    for name, guess in (
        ("constant_velocity", now + velocity * count),
        ("quadratic", now + slope * count + bend * count**2),
    ):
        guesses[name] = torch.zeros_like(vectors)
        guesses[name][..., ACTOR_XY] = guess
    return guesses


def _fixed_batch(store: SceneStore, rows: list[int]) -> Batch:
    return collate(store, rows, [item_seed(0, "floor", row) for row in rows])
