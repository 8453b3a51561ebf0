"""Section `pretrain`: what is reconstructed or forecast, how, and on which synthetic windows."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.config.declaring import value
from synthdrive.config.training import OptimisationParameters

MASKED, FORECAST, NONE = "masked", "forecast", "none"
ALL_COLUMNS, XY = "all", "xy"


@dataclass(frozen=True)
class ObjectiveParameters:
    """The objective of pre-training.

    Attributes:
        objective: `masked` reconstructs what was hidden; `forecast` trains DenseTNT itself on the synthetic windows;
            `none` pre-trains nothing.
        map_probability: fraction of samples whose lanes are masked; the others have the agent's trajectory masked.
        mask_ratio: fraction of a scene's lanes that is masked in a map sample.
        decoder_sees_encoder: False gives the mask of the paper's release, which hides the encoder from the decoder,
            so that the encoder gets no gradient (docs/method.md 4.6).
        random_rotation: turn every sample by a random angle about the agent.
        targets: `all` regresses every feature column, as the paper does; `xy` positions alone, in metres.
        history_only: the encoder sees no row after the last observed step.
        modes: trajectories that the trajectory decoder predicts; the best one counts.
        dead_mode_weight: weight of the loss of the first mode that has not won yet in the batch (docs/method.md 4.3).
        lane_padding_in_loss: count the padding of short lanes as targets (zeros) and as decoder queries, as released.
        min_lanes: scenes with fewer lanes are left out of pre-training (docs/method.md 8.8).
    """

    objective: str = value(choices=(MASKED, FORECAST, NONE))
    map_probability: float = value(at_least=0, at_most=1, unit="")
    mask_ratio: float = value(at_least=0, at_most=1, unit="")
    decoder_sees_encoder: bool = value()
    random_rotation: bool = value()
    targets: str = value(choices=(ALL_COLUMNS, XY))
    history_only: bool = value()
    modes: int = value(at_least=1, unit="")
    dead_mode_weight: float = value(at_least=0, unit="")
    lane_padding_in_loss: bool = value()
    min_lanes: int = value(at_least=0, unit="")


@dataclass(frozen=True)
class PretrainParameters(ObjectiveParameters, OptimisationParameters):
    """Section `pretrain` of params.yaml.

    Attributes:
        windows: all of them, or only those driven on original or on augmented scenes.
        fraction: of these windows, to train on; the subsets of one seed are nested, and the same in every variant.
    """

    windows: str = value(choices=("all", "original", "augmented"))
    fraction: float = value(above=0, at_most=1, unit="")
