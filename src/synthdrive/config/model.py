"""Section `model`: the size of the networks, and choices that pre-training and fine-tuning share."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.config.declaring import value
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

    hidden_size: int = value(at_least=SMALLEST_HIDDEN_SIZE, unit="")
    sub_graph_layers: int = value(at_least=1, unit="")
    sub_graph_heads: int = value(at_least=1, unit="")
    kept_lane_probability: float = value(above=0, at_most=1, unit="")
    goal_spacing: float = value(above=0, unit="m")
    dense_from_goals: int = value(at_least=1, unit="")
    dense_radius: int = value(at_least=0, unit="m")
    coordinate_scale: float = value(above=0, unit="m")
    polyline_index: bool = value()
    detach_endpoint_query: bool = value()

    def validate(self, where: str) -> None:
        """The width must be a multiple of 8, and of the number of heads."""
        if self.hidden_size % 8:
            expected = f"a multiple of 8 from {SMALLEST_HIDDEN_SIZE}"
            raise ParameterError(f"{where}.hidden_size", str(self.hidden_size), expected)
        if self.hidden_size % self.sub_graph_heads:
            expected = f"a divisor of hidden_size ({self.hidden_size})"
            raise ParameterError(f"{where}.sub_graph_heads", str(self.sub_graph_heads), expected)
