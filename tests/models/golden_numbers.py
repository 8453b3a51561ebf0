"""Golden numbers of the whole method on made-up scenes and weights, for tests without the reference data.

`python tests/models/golden_numbers.py` (with src, tests and tests/models on PYTHONPATH) writes them to
tests/fixtures/golden_numbers.json. They are computed by this library: write them only if `pytest -m reference`
passes, so that the committed numbers equal those of the reference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from golden_weights import reference_names
from made_scenes import make_batch, make_scene
from torch import nn

from given_parameters import paper
from synthdrive.augmentation.transforms import KINDS, SHAPES, make_transform
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.evaluate import displacement_errors
from synthdrive.forecasting.goal_sets import optimise_goal_sets
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder

FILE = Path(__file__).resolve().parents[1] / "fixtures" / "golden_numbers.json"
SCENES = [make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 5), (5, 12), (2, 9)])]


def golden_numbers() -> dict[str, Any]:
    """Numbers, or lists of numbers, for each part of the method."""
    return {
        "transforms": _transforms(),
        "densetnt": _densetnt(),
        "pretraining": {
            "decoder sees encoder": _pretraining(True),
            "as released": _pretraining(False),
        },
        "goal sets": {"minFDE": _goal_sets(0.0), "miss rate": _goal_sets(1.0)},
        "metrics": _metrics(),
    }


def give_weights(network: nn.Module) -> None:
    """Set weights that depend only on the reference's names, not on the order or the names of the parameters here."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            theirs = reference_names(name)
            shape = (parameter.shape[0] // len(theirs), *parameter.shape[1:])
            parts = [np.random.default_rng(crc32(one.encode())).normal(size=shape) for one in theirs]
            value = np.concatenate(parts)
            if parameter.dim() > 1:
                value = value / np.sqrt(parameter.shape[-1])
            else:
                value = 0.1 * value + (1.0 if "norm" in theirs[0].lower() and name.endswith("weight") else 0.0)
            parameter.copy_(torch.from_numpy(value))


def _transforms() -> dict[str, Any]:
    x = np.linspace(-5.0, 90.0, 12)
    found = {}
    for family, shape in SHAPES.items():
        for kind in KINDS[:3]:
            transform = make_transform(kind, 6.0, 0.0, shape)
            found[f"{family} {kind}"] = {
                "displacement": transform.displacement(x).tolist(),
                "max_speed": float(transform.max_speed()),
            }
    return found


def _densetnt() -> dict[str, Any]:
    network = DenseTNT(paper(ModelParameters, hidden_size=32, polyline_index=True), ARGOVERSE1).double()
    give_weights(network)
    batch = make_batch(SCENES)
    losses = network(batch)
    losses.total.backward()
    groups = ("encoder", "lane_scorer", "goal_scorer", "completion")
    with torch.no_grad():
        distribution = network.goal_distribution(batch)
        best = distribution.log_prob.topk(3, dim=1)
        ends = torch.tensor([[3.0, 20.0]], dtype=torch.float64).expand(len(SCENES), 1, 2)
        completed = network.complete(distribution, ends)[:, 0, [0, 14, 29]]
    lanes = distribution.lane_log_prob
    return {
        "losses": {name: float(part) for name, part in losses.parts.items()} | {"total": float(losses.total.detach())},
        "lane log-probabilities": lanes[lanes.isfinite()].tolist(),
        "likeliest goals": distribution.goals.gather(1, best.indices[..., None].expand(-1, -1, 2)).tolist(),
        "their log-probabilities": best.values.tolist(),
        "number of goals": distribution.valid.sum(1).tolist(),
        "completion": completed.tolist(),
        "gradient norms": {group: _gradient(getattr(network, group)) for group in groups},
    }


def _pretraining(decoder_sees_encoder: bool) -> dict[str, Any]:
    model = paper(ModelParameters, hidden_size=32, polyline_index=True)
    objective = paper(
        ObjectiveParameters, decoder_sees_encoder=decoder_sees_encoder, queries="index", map_probability=0.5
    )
    network = MaskedAutoencoder(model, objective, ARGOVERSE1).double()
    give_weights(network)
    losses = network(make_batch(SCENES, seeds=[3, 4, 5, 6]))
    losses.total.backward()
    parts = {name: float(part) for name, part in losses.parts.items()}
    return {
        "losses": parts | {"total": float(losses.total.detach())},
        "encoder's gradient norm": _gradient(network.encoder),
    }


def _gradient(part: nn.Module) -> float:
    """L2 norm of the gradient of all parameters of a module."""
    squares = [parameter.grad.square().sum() for parameter in part.parameters() if parameter.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


def _goal_sets(weight: float) -> dict[str, Any]:
    random = np.random.default_rng(7)
    goals = random.normal(0, 15, (2, 300, 2)).round(3)
    score = -np.square(goals - random.normal(0, 10, (2, 1, 2))).sum(-1) / 100 + random.normal(0, 1, (2, 300))
    log_prob = torch.from_numpy(score).log_softmax(1)
    valid = torch.ones(2, 300, dtype=torch.bool)
    found = optimise_goal_sets(
        torch.from_numpy(goals), log_prob, valid, torch.tensor([1, 2]), weight, num_restarts=32, miss_threshold=2.0
    )
    return {"goals": found.goals.tolist(), "single": found.single.tolist(), "objective": found.objective.tolist()}


def _metrics() -> dict[str, Any]:
    random = np.random.default_rng(8)
    truth = random.normal(0, 1, (40, 30, 2)).cumsum(1)
    forecasts = truth[:, None] + random.normal(0, 0.6, (40, 8, 30, 2)).cumsum(2)
    probabilities = random.dirichlet(np.ones(8), 40)
    counts = random.integers(1, 9, 40)
    return {
        f"K {guesses}, {horizon} steps": {
            name: float(values.mean())
            for name, values in displacement_errors(
                forecasts, truth, guesses, probabilities, counts, horizon, miss_threshold=2.0
            ).items()
        }
        for guesses in (1, 6)
        for horizon in (10, 30)
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(golden_numbers(), indent=1) + "\n", encoding="utf-8")
