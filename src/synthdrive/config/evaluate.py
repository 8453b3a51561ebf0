"""Section `evaluate`: how forecasts are selected from a goal distribution, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import value

SCORING = ("miss_threshold", "slow_below", "fast_above", "displacement_edges")
"""Parameters on which the metrics of given forecasts depend."""


@dataclass(frozen=True)
class EvaluateParameters:
    """Section `evaluate` of params.yaml: selection and scoring of forecasts.

    Attributes:
        selection: goal_sets (minimise the expected error over sets of six goals) or nms (non-maximum suppression).
        miss_rate_weight: r in (1 - r) minFDE + r 10 miss, the objective of goal_sets.
        min_probability: goals with a smaller probability are left out of the objective.
        nms_distance: metres; smallest distance between two goals that nms selects.
        temperature: metres; the probability of goal j is proportional to exp(-E(y_j) / temperature), where E is the
            expected error of that goal alone.
        miss_threshold: metres; a scene is missed if its smallest endpoint error is larger, in the objective too.
        num_restarts: number of random initial goal sets for each scene.
        seed: seed of these draws.
        slow_below, fast_above: m/s, limits to the agent's mean speed in the strata slow and fast.
        displacement_edges: m, limits between the strata of the agent's displacement in a scene.
        bootstrap_samples: resamples of the scenes for each 95 % interval.
        batch_size: number of scenes in a batch of the network.
    """

    selection: str = value(choices=("goal_sets", "nms"))
    miss_rate_weight: float = value(at_least=0, at_most=1, unit="")
    min_probability: float = value(above=0, below=1, unit="")
    nms_distance: float = value(above=0, below=100, unit="m")
    temperature: float = value(above=0, below=100, unit="m")
    miss_threshold: float = value(above=0, below=100, unit="m")
    num_restarts: int = value(at_least=1, at_most=4096, unit="")
    seed: int = value(at_least=0, unit="")
    slow_below: float = value(above=0, unit="m/s")
    fast_above: float = value(above=0, unit="m/s")
    displacement_edges: list[float] = value(above=0, unit="m", rising=True)
    bootstrap_samples: int = value(at_least=1, at_most=100_000, unit="")
    batch_size: int = value(at_least=1, at_most=4096, unit="")

    def validate(self, where: str) -> None:
        """No scene may be both slow and fast."""
        if self.slow_below > self.fast_above:
            raise ParameterError(f"{where}.fast_above", str(self.fast_above), f"at least slow_below, {self.slow_below}")
