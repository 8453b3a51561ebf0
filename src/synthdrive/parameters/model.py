"""Size of the networks and the choices that pre-training and fine-tuning share."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

# The vectors' 22 feature columns lie at both ends of one row of this width (docs/method.md 1.3, 1.4).
SMALLEST_HIDDEN_SIZE = 32


@dataclass(frozen=True)
class ModelParameters:
    """Section `model` of params.yaml.

    Attributes:
        hidden_size: width of every feature, and of the goal decoder's hidden layers.
        sub_graph_layers: attention layers inside a polyline.
        sub_graph_heads: attention heads inside a polyline.
        kept_lane_probability: lanes are kept, most probable first, until their probabilities exceed this sum.
        goal_spacing: metres, largest spacing of the sparse goals along a lane.
        goal_reach: m/s2; sparse goals are left out that the focal agent could not get to in 3 s with an acceleration of
            this size, in whatever direction (`vectors.goals.reachable_goals`). 0.0 keeps all: the paper.
        dense_from_goals: number of the most probable sparse goals around which dense goals are laid.
        dense_radius: metres; dense goals are the integer points within +-dense_radius of each of them, in x and in y.
        coordinate_scale: metres that count as 1 where a network reads coordinates: vectors, goals, endpoints, queries.
            The layer norms that follow see directions alone once coordinates are much larger than 1, and distances
            are learned late (docs/method.md 8.21). What is predicted stays in metres. 1.0: the paper.
        polyline_index: give the network each polyline's index in its scene as a feature, as the paper does; forecasts
            then depend on the order of lanes and agents (docs/method.md 8.10).
        detach_endpoint_query: no gradient into the endpoint encoder of the trajectory completion, which then stays
            random, as in the paper's release (docs/method.md 8.5).
    """

    hidden_size: int = 128
    sub_graph_layers: int = 3
    sub_graph_heads: int = 2
    kept_lane_probability: float = 0.95
    goal_spacing: float = 1.0
    goal_reach: float = 0.0
    dense_from_goals: int = 150
    dense_radius: int = 2
    coordinate_scale: float = 1.0
    polyline_index: bool = False
    detach_endpoint_query: bool = False

    def validate(self, where: str) -> None:
        """Refuse impossible values; raises ParameterError naming `where` and the key."""
        if self.hidden_size < SMALLEST_HIDDEN_SIZE or self.hidden_size % 8:
            expected = f"a multiple of 8 from {SMALLEST_HIDDEN_SIZE}"
            raise ParameterError(f"{where}.hidden_size", str(self.hidden_size), expected)
        if self.sub_graph_heads < 1 or self.hidden_size % self.sub_graph_heads:
            expected = f"a divisor of hidden_size ({self.hidden_size})"
            raise ParameterError(f"{where}.sub_graph_heads", str(self.sub_graph_heads), expected)
        for name, lowest in (("sub_graph_layers", 1), ("dense_from_goals", 1), ("dense_radius", 0)):
            if getattr(self, name) < lowest:
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), f"a whole number from {lowest}")
        if not 0.0 < self.kept_lane_probability <= 1.0:
            raise ParameterError(f"{where}.kept_lane_probability", str(self.kept_lane_probability), "above 0, up to 1")
        if not 0.0 <= self.goal_reach < float("inf"):
            raise ParameterError(f"{where}.goal_reach", str(self.goal_reach), "0 (all goals), or m/s2 above 0")
        for name in ("goal_spacing", "coordinate_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), "metres, above 0")
