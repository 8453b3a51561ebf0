"""Sections `model`, `pretrain`, `finetune` and `variants`: networks, training, and the changes of each variant."""

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
    """Section `model` of params.yaml: the networks.

    Attributes:
        hidden_size: width of every feature, and of the goal decoder's hidden layers.
        sub_graph_layers: attention layers inside a polyline.
        sub_graph_heads: attention heads inside a polyline.
        kept_lane_probability: lanes are kept, most probable first, until their probabilities exceed this sum.
        goal_spacing: metres, largest spacing of the sparse goals along a lane.
        max_goal_acceleration: m/s2; sparse goals that the focal agent cannot reach within the horizon at this
            acceleration, in any direction, are left out (`models.goals.reachable_goals`). 0.0, as in the paper, keeps
            all goals.
        dense_from_goals: number of the most probable sparse goals around which dense goals are placed.
        dense_radius: metres; dense goals are the integer points within +-dense_radius of each of them, in x and in y.
        coordinate_scale: metres; input coordinates (vectors, goals, endpoints, queries) are divided by it, outputs stay
            in metres. If inputs are much larger than 1, the layer norms hide distances, which are then learned late
            (docs/method.md 8.21). The paper: 1.0.
        second_coordinate_scale: metres; a second first layer, with a norm of its own, reads vectors, goals and
            endpoints at this scale, and its features are joined with those of the other. The larger scale shows
            distances, the smaller one directions. The paper: 0.0, a single scale.
        polyline_index: whether each polyline's index in its scene is a feature, as in the paper; forecasts then depend
            on the order of lanes and agents (docs/method.md 8.10).
        detach_endpoint_query: whether the endpoint encoder of the trajectory completion gets no gradient and stays
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
        """The width must be a multiple of 8 and of the number of heads, and the two scales must differ."""
        if self.second_coordinate_scale == self.coordinate_scale:
            expected = f"0, or a value other than coordinate_scale ({self.coordinate_scale})"
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
    """Parameters of training that `pretrain` and `finetune` share: Adam, learning rate, batches, precision.

    Attributes:
        epochs: passes over the scenes.
        global_batch_size: scenes per optimiser step, summed over all devices.
        micro_batch_size: most scenes per forward pass on one device; gradients of larger batches are accumulated.
        learning_rate: learning rate of Adam, before the schedule.
        lr_schedule: constant; step: times `lr_decay_factor` at each of `lr_milestones`; cosine: down to
            `final_lr_factor` of it.
        lr_milestones: epochs, counted from 0, before which the step schedule decays.
        lr_decay_factor: factor of the step schedule.
        final_lr_factor: final learning rate of the cosine schedule, as a fraction of `learning_rate`.
        warmup_epochs: number of epochs (may be a fraction) over which the learning rate first rises linearly from 0.
        max_grad_norm: norm to which the whole gradient is clipped; 0 for no clipping.
        ema_decay: decay per step of the exponential moving average of the weights, which is the trained model; 0 for
            the last weights instead.
        cpu_threads: threads of one run on a CPU; a parameter, because the last bits of sums depend on it.
        precision: float32; tf32: matrix products at 19 bits on NVIDIA devices; bfloat16: mixed precision.
        compile: whether to compile the model with torch.compile.
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
        """The warm-up must not be longer than the training."""
        if self.warmup_epochs > self.epochs:
            raise ParameterError(f"{where}.warmup_epochs", str(self.warmup_epochs), f"0 to {self.epochs} (epochs)")


@dataclass(frozen=True)
class VariantParameters:
    """One entry of `variants`: what a variant changes in sections `model`, `pretrain` and `finetune`, and nothing else.

    Attributes:
        description: description of the variant for the report.
        model, pretrain, finetune: values that replace those of the section of that name; by default none.
    """

    description: str = value()
    model: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def load_variant(variant: str, path: Path = DEFAULT_PATH) -> VariantParameters:
    """Load a variant.

    Raises:
        ParameterError: there is no such variant, or it has an unknown key.
    """
    return variant_of(variant, read_parameters(path), path)


def load_variant_section(schema: type[Section], section: str, variant: str, path: Path = DEFAULT_PATH) -> Section:
    """Load section `model`, `pretrain` or `finetune` with the changes of a variant.

    Raises:
        ParameterError: a value of the section or of the variant is missing, unknown, of the wrong type or out of range;
            the message says in which of the two.
    """
    return variant_section(schema, section, variant, read_parameters(path), path)


def variant_section(
    schema: type[Section], section: str, variant: str, content: Mapping[str, Any], path: object
) -> Section:
    """Like `load_variant_section`, but from the whole content of a parameter file; `path` is for error messages."""
    changes: dict[str, Any] = getattr(variant_of(variant, content, path), section)
    whole = from_values(schema, content.get(section), f"{path}: {section}")
    return (
        from_values(schema, {**content[section], **changes}, f"{path}: variants.{variant}.{section}")
        if changes
        else whole
    )


def variant_of(variant: str, content: Mapping[str, Any], path: object) -> VariantParameters:
    """Like `load_variant`, but from the whole content of a parameter file; `path` is for error messages."""
    variants = variants_of(content, path)
    if variant not in variants:
        raise ParameterError(
            f"{path}: variants", f"no variant {variant!r}", f"one of {', '.join(variants)}, or a new entry there"
        )
    return from_values(VariantParameters, variants[variant], f"{path}: variants.{variant}")


def variants_of(content: Mapping[str, Any], path: object) -> Mapping[str, Any]:
    """Return the variants that a parameter file's content defines, by name, without checking their values."""
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
    """The pre-training objective.

    Attributes:
        objective: `masked` reconstructs lanes or the focal agent's trajectory, as in the paper. `scene` reconstructs
            lanes and its future together, each in its own frame (docs/objectives.md); of the parameters below it uses
            only `mask_ratio`, `random_rotation`, `modes`, `dead_mode_weight` and `min_lanes`. `forecast` trains
            DenseTNT itself on the synthetic windows. `none`: no pre-training.
        map_probability: fraction of samples in which lanes are masked; in the others the agent's trajectory is masked.
        mask_ratio: fraction of a scene's lanes that is masked in a map sample.
        queries: what the decoder queries of a masked polyline contain. `index`, as in the paper: the first query its
            first vector, and those of lanes a code of the polyline's index, here drawn anew for each sample. `place`:
            every query the first vector, and no index.
        decoder_sees_encoder: if false, the attention mask of the paper's release hides the encoder from the decoder,
            so that the encoder gets no gradient (docs/method.md 4.6).
        random_rotation: whether to rotate every sample by a random angle about the agent.
        targets: `all` regresses every feature column, as in the paper; `xy` only positions, in metres.
        history_only: whether the encoder sees only rows up to the last observed step.
        modes: number of trajectories that the trajectory decoder predicts; the loss is that of the best one.
        dead_mode_weight: weight of the loss of the first mode that has not won yet in the batch (docs/method.md 4.3).
        lane_padding_in_loss: whether the padding of short lanes counts as targets (zeros) and decoder queries, as in
            the paper's release.
        min_lanes: scenes with fewer lanes are left out of pre-training (docs/method.md 8.8).
        goal_label_std: for the objective `forecast`; see `FinetuneParameters`.
    """

    objective: str = value(choices=(MASKED, SCENE, FORECAST, NONE))
    map_probability: float = value(at_least=0, at_most=1, unit="")
    mask_ratio: float = value(at_least=0, at_most=1, unit="")
    queries: str = value(choices=(INDEX, PLACE))
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
        windows: which windows to train on: all, or those on original or on augmented scenes.
        fraction: fraction of these windows to train on; the subsets of one seed are nested and equal for all variants.
        held_out_fraction: fraction of the routes whose windows are kept from training to measure the reconstruction; 0
            for no measurement.
    """

    windows: str = value(choices=("all", "original", "augmented"))
    fraction: float = value(above=0, at_most=1, unit="")
    held_out_fraction: float = value(at_least=0, below=1, unit="")


@dataclass(frozen=True)
class FinetuneParameters(OptimisationParameters):
    """Section `finetune` of params.yaml.

    Attributes:
        load_pretrained_weights: modules of the pre-trained model whose tensors are loaded ("encoder",
            "encoder.global_graph"); the rest is initialised at random. It does not apply to variants without
            pre-training.
        fraction: fraction of the scenes to train on; the subsets of one seed are nested and equal for all variants.
        goal_label_std: metres; the target of the goal probabilities is a distribution with Gaussian weights of this
            standard deviation in the distance to the true endpoint. The paper: 0.0, the nearest goal only.
    """

    load_pretrained_weights: list[str] = value(distinct=True)
    fraction: float = value(above=0, at_most=1, unit="")
    goal_label_std: float = value(at_least=0, unit="m")
