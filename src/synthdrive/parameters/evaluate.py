"""Parameters of goal-set inference and of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

SELECTIONS = ("goal_sets", "nms")


@dataclass(frozen=True)
class EvaluateParameters:
    """How forecasts are chosen from a goal distribution, and how they are judged.

    Attributes:
        selection: goal_sets (minimise the expected error over sets of six goals) or nms (non-maximum suppression).
        miss_rate_weight: r in (1 - r) minFDE + r 10 miss, the objective of goal_sets.
        min_probability: goals below it are left out of the objective.
        nms_distance: metres that two goals chosen by nms keep from each other.
        temperature: metres; goal j has a probability in proportion to exp(-E(y_j) / temperature), E its error alone.
        miss_threshold: metres; a scene whose smallest endpoint error is above it is missed.
        starts: goal sets drawn at random for every scene.
        seed: of these draws.
        slow_below, fast_above: m/s, the agent's mean speed in the strata slow and fast.
        displacement_edges: m, limits between the strata by how far the agent gets in 5 s.
        bootstrap_samples: resamples of the scenes behind every 95 % interval.
        batch_size: scenes that run through the network together.
    """

    selection: str
    miss_rate_weight: float
    min_probability: float
    nms_distance: float
    temperature: float
    miss_threshold: float
    starts: int
    seed: int
    slow_below: float
    fast_above: float
    displacement_edges: list[float]
    bootstrap_samples: int
    batch_size: int

    def validate(self, where: str) -> None:
        """Refuse values that mean nothing; raises ParameterError naming the key."""
        if self.selection not in SELECTIONS:
            raise ParameterError(f"{where}.selection", repr(self.selection), f"one of {', '.join(SELECTIONS)}")
        if not 0 <= self.miss_rate_weight <= 1:
            raise ParameterError(f"{where}.miss_rate_weight", str(self.miss_rate_weight), "a number from 0 to 1")
        if not 0 < self.min_probability < 1:
            raise ParameterError(f"{where}.min_probability", str(self.min_probability), "a number between 0 and 1")
        for name in ("nms_distance", "temperature", "miss_threshold"):
            if not 0 < getattr(self, name) < 100:
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), "metres, above 0 and below 100")
        if not 0 < self.slow_below <= self.fast_above:
            raise ParameterError(f"{where}.fast_above", str(self.fast_above), f"at least slow_below, {self.slow_below}")
        if list(self.displacement_edges) != sorted({edge for edge in self.displacement_edges if edge > 0}):
            raise ParameterError(
                f"{where}.displacement_edges", str(self.displacement_edges), "metres above 0, each larger than the last"
            )
        for name, most in (("starts", 4096), ("bootstrap_samples", 100_000), ("batch_size", 4096)):
            if not 1 <= getattr(self, name) <= most:
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), f"a whole number from 1 to {most}")
