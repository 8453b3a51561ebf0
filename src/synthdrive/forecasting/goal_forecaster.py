"""Forecasts of a trained DenseTNT: goal distribution, six goals, a trajectory to each (docs/method.md 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.forecasting.goal_sets import GoalSets, optimise_goal_sets
from synthdrive.forecasting.nms import suppress_non_maxima
from synthdrive.models.densetnt import DenseTNT
from synthdrive.parameters.evaluate import EvaluateParameters
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.seeding import item_seed
from synthdrive.vectors.batch import collate


class GoalForecaster:
    """A network and the way in which its six goals are chosen.

    Args:
        network: trained, in evaluation mode.
        parameters: of goal selection.
        device: where it runs.
    """

    def __init__(self, network: DenseTNT, parameters: EvaluateParameters, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.parameters = parameters
        self.device = device

    @torch.no_grad()
    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes; every scene draws from a seed of its own."""
        names = [store.scene_ids[index] for index in indices]
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # of this thread: batches are spread over threads, and sums stay the same
        batch = collate(store, indices).to(self.device)
        distribution = self.network.goal_distribution(batch)
        seeds = torch.tensor([item_seed(self.parameters.seed, name) for name in names], device=self.device)
        chosen = self.choose(distribution.goals, distribution.log_prob, distribution.valid, seeds)
        goals = chosen.goals.to(distribution.goals.dtype)
        trajectories = self.network.complete(distribution, goals)  # [B, 6, 30, 2]
        trajectories = torch.cat([trajectories[:, :, :-1], goals[:, :, None]], dim=2)  # a trajectory ends at its goal
        return Forecasts.ranked(
            names,
            distribution.frame.to_city(trajectories).float().cpu().numpy(),
            chosen.probabilities.cpu().numpy(),
            chosen.objective.cpu().numpy(),
        )

    def choose(self, goals: Tensor, log_prob: Tensor, valid: Tensor, seeds: Tensor) -> GoalSets:
        """Six goals a scene, as the parameters ask for."""
        given = self.parameters
        objective = {
            "miss_rate_weight": given.miss_rate_weight,
            "min_probability": given.min_probability,
            "temperature": given.temperature,
        }
        if given.selection == "nms":
            return suppress_non_maxima(goals, log_prob, valid, given.nms_distance, **objective)
        return optimise_goal_sets(goals, log_prob, valid, seeds, starts=given.starts, **objective)


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
