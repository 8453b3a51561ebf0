"""What pre-training asks of the network: the options that tell one variant from another."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

MASKED, SCENE, FORECAST, NONE = "masked", "scene", "forecast", "none"
OBJECTIVES = (MASKED, SCENE, FORECAST, NONE)
RECONSTRUCTING = (MASKED, SCENE)
ALL_COLUMNS, XY = "all", "xy"
TARGETS = (ALL_COLUMNS, XY)
INDEX, PLACE = "index", "place"
LANE_QUERIES = (INDEX, PLACE)


@dataclass(frozen=True)
class ObjectiveParameters:
    """The pre-training objective of one variant; the defaults are the paper's "combined", without its defects.

    Attributes:
        objective: `masked` reconstructs lanes or AGENT's trajectory, as the paper does; `scene` lanes and AGENT's
            future at once, each seen from its own place (docs/objectives.md): of what follows it takes `mask_ratio`,
            `random_rotation`, `modes`, `dead_mode_weight` and `min_lanes` alone; `forecast` trains DenseTNT itself on
            the synthetic windows; `none` pre-trains nothing.
        map_probability: share of samples whose lanes are masked; the others have AGENT's trajectory masked.
        mask_ratio: share of a scene's lanes that is masked in a map sample.
        lane_query: how a query says which hidden lane it asks for. `index`: the paper's code of the polyline's index,
            here drawn anew for each sample; `place`: the lane's first vector, in each of its queries.
        decoder_sees_encoder: False gives the mask of the paper's release, which hides the encoder from the decoder,
            so that the encoder gets no gradient (docs/method.md 4.6).
        random_rotation: turn every sample by a random angle about AGENT.
        targets: `all` regresses every feature column, as the paper does; `xy` positions alone, in metres.
        history_only: the encoder sees no row after the last observed step.
        modes: trajectories that the trajectory decoder predicts; the best one counts.
        dead_mode_weight: weight of the loss of the first mode that has not won yet in the batch (docs/method.md 4.3).
        lane_padding_in_loss: count the padding of short lanes as targets (zeros) and as decoder queries, as released.
        min_lanes: scenes with fewer lanes are left out of pre-training (docs/method.md 8.8).
    """

    objective: str = MASKED
    map_probability: float = 0.7
    mask_ratio: float = 0.5
    lane_query: str = INDEX
    decoder_sees_encoder: bool = True
    random_rotation: bool = True
    targets: str = ALL_COLUMNS
    history_only: bool = False
    modes: int = 6
    dead_mode_weight: float = 0.05
    lane_padding_in_loss: bool = False
    min_lanes: int = 2

    def validate(self, where: str) -> None:
        """Refuse impossible values; raises ParameterError naming `where` and the key."""
        for name, allowed in (("objective", OBJECTIVES), ("targets", TARGETS), ("lane_query", LANE_QUERIES)):
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{where}.{name}", repr(getattr(self, name)), f"one of {', '.join(allowed)}")
        for name in ("map_probability", "mask_ratio"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), "a share from 0 to 1")
        for name, lowest in (("modes", 1), ("dead_mode_weight", 0), ("min_lanes", 0)):
            if not getattr(self, name) >= lowest:
                raise ParameterError(f"{where}.{name}", str(getattr(self, name)), f"{lowest} or more")
