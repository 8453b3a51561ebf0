"""What is trained and how: networks, pre-training, fine-tuning, and what a variant changes in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import DEFAULT_PATH, read_parameters
from synthdrive.core.schema import from_values, value

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
        max_goal_acceleration: m/s2; sparse goals are left out that the focal agent could not get to within the horizon
            with an acceleration of this size, in whatever direction (`models.goals.reachable_goals`). 0.0 keeps all:
            the paper.
        dense_from_goals: number of the most probable sparse goals around which dense goals are laid.
        dense_radius: metres; dense goals are the integer points within +-dense_radius of each of them, in x and in y.
        coordinate_scale: metres that count as 1 where a network reads coordinates: vectors, goals, endpoints, queries.
            The layer norms that follow see directions alone once coordinates are much larger than 1, and distances
            are learned late (docs/method.md 8.21). What is predicted stays in metres. 1.0: the paper.
        second_coordinate_scale: metres; vectors, goals and endpoints are also read over this scale, by a first layer of
            its own with its own norm, whose features are joined with those of the other: of two scales, the larger
            shows distances and the smaller directions. 0.0: the paper, one scale alone.
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
    max_goal_acceleration: float = value(at_least=0, unit="m/s2")
    dense_from_goals: int = value(at_least=1, unit="")
    dense_radius: int = value(at_least=0, unit="m")
    coordinate_scale: float = value(above=0, unit="m")
    second_coordinate_scale: float = value(at_least=0, unit="m")
    polyline_index: bool = value()
    detach_endpoint_query: bool = value()

    def validate(self, where: str) -> None:
        """The width must be a multiple of 8, and of the number of heads; two scales must differ."""
        if self.second_coordinate_scale == self.coordinate_scale:
            expected = f"0, or another than coordinate_scale ({self.coordinate_scale})"
            raise ParameterError(f"{where}.second_coordinate_scale", str(self.second_coordinate_scale), expected)
        if self.hidden_size % 8:
            expected = f"a multiple of 8 from {SMALLEST_HIDDEN_SIZE}"
            raise ParameterError(f"{where}.hidden_size", str(self.hidden_size), expected)
        if self.hidden_size % self.sub_graph_heads:
            expected = f"a divisor of hidden_size ({self.hidden_size})"
            raise ParameterError(f"{where}.sub_graph_heads", str(self.sub_graph_heads), expected)


Section = TypeVar("Section")

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class OptimisationParameters:
    """Adam and its learning rate.

    Attributes:
        epochs: passes over the scenes.
        global_batch_size: scenes per optimiser step, over all devices together.
        micro_batch_size: most scenes in one forward pass of one device; a larger share of the batch is accumulated.
        learning_rate: Adam's, before the schedule.
        lr_schedule: constant; step: times `lr_decay_factor` at each of `lr_milestones`; cosine: down to
            `final_lr_factor` of it.
        lr_milestones: epochs, counted from 0, before which the step schedule decays.
        lr_decay_factor: factor of the step schedule.
        final_lr_factor: where the cosine schedule ends, as a fraction of `learning_rate`.
        warmup_epochs: linear rise from zero over this many epochs (fractions too), before any schedule.
        max_grad_norm: largest norm of the whole gradient; 0 leaves it as it is.
        ema_decay: per step, of the exponential moving average of the weights that is the trained model; 0 takes the
            last weights.
        cpu_threads: threads of one run on a CPU; the last bits of sums depend on it, and not on the machine.
        precision: float32; tf32: matrix products at 19 bits on NVIDIA devices; bfloat16: mixed precision.
        compile: compile the model with torch.compile.
    """

    epochs: int = value(at_least=1, unit="")
    global_batch_size: int = value(at_least=1, unit="")
    micro_batch_size: int = value(at_least=1, unit="")
    learning_rate: float = value(above=0, below=1, unit="")
    lr_schedule: str = value(choices=("constant", "step", "cosine"))
    lr_milestones: list[int] = value(at_least=1, unit="epochs", rising=True)
    lr_decay_factor: float = value(above=0, at_most=1, unit="")
    final_lr_factor: float = value(at_least=0, at_most=1, unit="")
    warmup_epochs: float = value(at_least=0, unit="epochs")
    max_grad_norm: float = value(at_least=0, unit="")
    ema_decay: float = value(at_least=0, below=1, unit="")
    cpu_threads: int = value(at_least=1, unit="")
    precision: str = value(choices=PRECISIONS)
    compile: bool = value()

    def validate(self, where: str) -> None:
        """The learning rate must have risen before training ends."""
        if self.warmup_epochs > self.epochs:
            raise ParameterError(f"{where}.warmup_epochs", str(self.warmup_epochs), f"0 to {self.epochs} (epochs)")


@dataclass(frozen=True)
class VariantParameters:
    """One entry of `variants`: what a variant changes in sections `model`, `pretrain` and `finetune`, and nothing else.

    Attributes:
        description: what the variant is, in words; the report shows it.
        model, pretrain, finetune: values that replace those of the section of that name; left out, none do.
    """

    description: str = value()
    model: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def variant_names(path: Path = DEFAULT_PATH) -> list[str]:
    """The variants that are defined, in the order of the file."""
    return list(variants_of(read_parameters(path), path))


def load_variant(variant: str, path: Path = DEFAULT_PATH) -> VariantParameters:
    """One variant.

    Raises:
        ParameterError: there is no such variant, or it holds something else than its four keys.
    """
    return variant_of(variant, read_parameters(path), path)


def load_variant_section(schema: type[Section], section: str, variant: str, path: Path = DEFAULT_PATH) -> Section:
    """Section `model`, `pretrain` or `finetune` as the variant changes it.

    Raises:
        ParameterError: a value of the section or of the variant is missing, unknown, of the wrong type or out of range;
            the message says whether the section or the variant holds it.
    """
    return variant_section(schema, section, variant, read_parameters(path), path)


def variant_section(
    schema: type[Section], section: str, variant: str, content: Mapping[str, Any], path: object
) -> Section:
    """As `load_variant_section`, from the whole content of a parameter file."""
    changes: dict[str, Any] = getattr(variant_of(variant, content, path), section)
    whole = from_values(schema, content.get(section), f"{path}: {section}")
    return (
        from_values(schema, {**content[section], **changes}, f"{path}: variants.{variant}.{section}")
        if changes
        else whole
    )


def variant_of(variant: str, content: Mapping[str, Any], path: object) -> VariantParameters:
    """As `load_variant`, from the whole content of a parameter file."""
    variants = variants_of(content, path)
    if variant not in variants:
        raise ParameterError(
            f"{path}: variants", f"no variant {variant!r}", f"one of {', '.join(variants)}, or a new entry there"
        )
    return from_values(VariantParameters, variants[variant], f"{path}: variants.{variant}")


def variants_of(content: Mapping[str, Any], path: object) -> Mapping[str, Any]:
    """The variants that a parameter file's content defines, each with its values, unchecked."""
    variants = content.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise ParameterError(f"{path}: variants", repr(variants), "a mapping of variants, each with its changes")
    return {str(name): values for name, values in variants.items()}


MASKED, SCENE, FORECAST, NONE = "masked", "scene", "forecast", "none"
RECONSTRUCTING = (MASKED, SCENE)
ALL_COLUMNS, XY = "all", "xy"
INDEX, PLACE = "index", "place"


@dataclass(frozen=True)
class ObjectiveParameters:
    """The objective of pre-training.

    Attributes:
        objective: `masked` reconstructs lanes or the focal agent's trajectory, as the paper does; `scene` lanes and
            its future at once, each seen from its own place (docs/objectives.md): of what follows it takes
            `mask_ratio`, `random_rotation`, `modes`, `dead_mode_weight` and `min_lanes` alone; `forecast` trains
            DenseTNT itself on the synthetic windows; `none` pre-trains nothing.
        map_probability: fraction of samples whose lanes are masked; the others have the agent's trajectory masked.
        mask_ratio: fraction of a scene's lanes that is masked in a map sample.
        lane_query: how a query says which hidden lane it asks for. `index`: the paper's code of the polyline's index,
            here drawn anew for each sample; `place`: the lane's first vector, in each of its queries.
        decoder_sees_encoder: False gives the mask of the paper's release, which hides the encoder from the decoder,
            so that the encoder gets no gradient (docs/method.md 4.6).
        random_rotation: turn every sample by a random angle about the agent.
        targets: `all` regresses every feature column, as the paper does; `xy` positions alone, in metres.
        history_only: the encoder sees no row after the last observed step.
        modes: trajectories that the trajectory decoder predicts; the best one counts.
        dead_mode_weight: weight of the loss of the first mode that has not won yet in the batch (docs/method.md 4.3).
        lane_padding_in_loss: count the padding of short lanes as targets (zeros) and as decoder queries, as released.
        min_lanes: scenes with fewer lanes are left out of pre-training (docs/method.md 8.8).
        goal_label_std: of the objective `forecast`; see `FinetuneParameters`.
    """

    objective: str = value(choices=(MASKED, SCENE, FORECAST, NONE))
    map_probability: float = value(at_least=0, at_most=1, unit="")
    mask_ratio: float = value(at_least=0, at_most=1, unit="")
    lane_query: str = value(choices=(INDEX, PLACE))
    decoder_sees_encoder: bool = value()
    random_rotation: bool = value()
    targets: str = value(choices=(ALL_COLUMNS, XY))
    history_only: bool = value()
    modes: int = value(at_least=1, unit="")
    dead_mode_weight: float = value(at_least=0, unit="")
    lane_padding_in_loss: bool = value()
    min_lanes: int = value(at_least=0, unit="")
    goal_label_std: float = value(at_least=0, unit="m")


@dataclass(frozen=True)
class PretrainParameters(ObjectiveParameters, OptimisationParameters):
    """Section `pretrain` of params.yaml.

    Attributes:
        windows: all of them, or only those driven on original or on augmented scenes.
        fraction: of these windows, to train on; the subsets of one seed are nested, and the same in every variant.
        held_out: fraction of the routes whose windows no variant is trained on, to measure reconstructions on; 0
            measures none.
    """

    windows: str = value(choices=("all", "original", "augmented"))
    fraction: float = value(above=0, at_most=1, unit="")
    held_out_fraction: float = value(at_least=0, below=1, unit="")


@dataclass(frozen=True)
class FinetuneParameters(OptimisationParameters):
    """Section `finetune` of params.yaml.

    Attributes:
        load_pretrained_weights: modules of the pre-trained model whose tensors are loaded ("encoder",
            "encoder.global_graph"); the rest starts fresh. A variant without pre-training transfers nothing, whatever
            it says here.
        fraction: of the scenes, to train on; the subsets of one seed are nested, and the same in every variant.
        goal_label_std: metres; the goals' target is a distribution over all of them, with Gaussian weights of this
            standard deviation in their distance to the true endpoint. 0.0: the paper, the nearest goal alone.
    """

    load_pretrained_weights: list[str] = value(distinct=True)
    fraction: float = value(above=0, at_most=1, unit="")
    goal_label_std: float = value(at_least=0, unit="m")
