"""Reading of parameter files: plain YAML whose sections are loaded into dataclasses (see schema.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import from_values

Section = TypeVar("Section")

DEFAULT_PATH = Path("params.yaml")
MOST_BYTES = 1 << 18  # largest parameter file; params.yaml has a tenth of this

SECTIONS = (
    "seeds",
    "from_scratch",
    "run_variants",
    "shared_pretraining",
    "variants",
    "scene",
    "data",
    "record_sample",
    "ingest",
    "check_raw",
    "augment",
    "synthesize",
    "check_synthetic",
    "model",
    "pretrain",
    "finetune",
    "evaluate",
    "report",
    "verify",
)

# Old dotted name -> new one, without list indices and without the prefix `variants.<name>.`.
RENAMED = {
    "on_top_of": "extends",
    "pretrain.batch": "pretrain.global_batch_size",
    "pretrain.device_batch": "pretrain.micro_batch_size",
    "pretrain.schedule": "pretrain.lr_schedule",
    "pretrain.milestones": "pretrain.lr_milestones",
    "pretrain.decay": "pretrain.lr_decay_factor",
    "pretrain.final_factor": "pretrain.final_lr_factor",
    "pretrain.clip_gradient": "pretrain.max_grad_norm",
    "pretrain.average_decay": "pretrain.ema_decay",
    "pretrain.lane_query": "pretrain.queries",
    "finetune.batch": "finetune.global_batch_size",
    "finetune.device_batch": "finetune.micro_batch_size",
    "finetune.schedule": "finetune.lr_schedule",
    "finetune.milestones": "finetune.lr_milestones",
    "finetune.decay": "finetune.lr_decay_factor",
    "finetune.final_factor": "finetune.final_lr_factor",
    "finetune.clip_gradient": "finetune.max_grad_norm",
    "finetune.average_decay": "finetune.ema_decay",
    "pretrain.held_back": "pretrain.held_out_fraction",
    "finetune.transfer": "finetune.load_pretrained_weights",
    "evaluate.starts": "evaluate.num_restarts",
    "model.goal_reach": "model.max_goal_acceleration",
    "record_sample.cities.val_share": "record_sample.cities.val_fraction",
    "record_sample.cities.scenes_share": "record_sample.cities.scenes_fraction",
    "record_sample.traffic.vehicles.share": "record_sample.traffic.vehicles.fraction",
    "record_sample.traffic.drivers.share": "record_sample.traffic.drivers.fraction",
    "record_sample.traffic.patience": "record_sample.traffic.time_to_teleport",
    "record_sample.scenes.max_standing": "record_sample.scenes.max_standing_fraction",
    "check_raw.maps.neighbours_link_back_share": "check_raw.maps.neighbours_link_back_fraction",
    "check_raw.maps.connected_share": "check_raw.maps.connected_fraction",
    "check_raw.scenes.mean_interval_share": "check_raw.scenes.mean_interval_fraction",
    "check_raw.scenes.lane_distance_share": "check_raw.scenes.lane_distance_fraction",
    "synthesize.driver.cruise_share": "synthesize.driver.cruise_speed_factor",
    "synthesize.driver.corner_cutting": "synthesize.driver.path_smoothing_time",
    "synthesize.driver.min_smoothing": "synthesize.driver.min_path_smoothing",
    "synthesize.driver.foresight": "synthesize.driver.curvature_smoothing_time",
    "synthesize.driver.tolerance": "synthesize.driver.speed_deadband",
    "synthesize.driver.preview": "synthesize.driver.lookahead_time",
    "synthesize.driver.response": "synthesize.driver.relaxation_time",
    "synthesize.driver.lag": "synthesize.driver.acceleration_lag",
    "synthesize.pace": "synthesize.speed_variation",
    "synthesize.speed_variation.stretch": "synthesize.speed_variation.interval",
    "synthesize.speed_variation.slowest": "synthesize.speed_variation.min_speed_factor",
    "synthesize.bystanders": "synthesize.background_agents",
    "synthesize.background_agents.standing": "synthesize.background_agents.standing_fraction",
    "synthesize.background_agents.fastest": "synthesize.background_agents.max_speed",
    "synthesize.noise.deviation": "synthesize.noise.std",
    "synthesize.noise.across": "synthesize.noise.lateral_factor",
    "synthesize.noise.spread": "synthesize.noise.log_std",
    "synthesize.noise.memory": "synthesize.noise.correlation_time",
}
# Dotted name of a removed parameter, written as in RENAMED -> reason.
REMOVED = {
    "report.baselines": "the report always lists both baselines",
    "synthesize.lane_changes": "no profile used lane changes",
    "synthesize.traffic": "no profile used vehicles on the focal agent's own route",
}
_VARIANT_PREFIX = re.compile(r"variants\.[^.]+\.")


class _PlainLoader(yaml.SafeLoader):
    """Loads YAML as DVC does (1e-3 is a number, duplicate keys are errors), but without aliases.

    A few nested aliases can expand to more values than fit into memory.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; raises YAMLError if it is an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {self.line + 1}; aliases are not supported, write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; raises YAMLError if a key occurs twice."""
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.YAMLError(f"{key.value!r} twice in the mapping that ends in line {node.end_mark.line}")
        return cast(dict[Any, Any], super().construct_mapping(node, deep))


_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*[eE][-+]?\d+"), [*"-+0123456789"]
)


def read_parameters(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """Read a whole parameter file as plain values.

    Raises:
        ParameterError: the file is not a mapping in plain YAML, or it has an unknown section or the old name of a
            parameter.
    """
    content = read_mapping(path)
    refuse_renamed(content, path)
    unknown = sorted(set(map(str, content)) - set(SECTIONS))
    if unknown:
        raise ParameterError(f"{path}: {unknown[0]}", "an unknown section", f"one of {', '.join(SECTIONS)}")
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping of plain values.

    Raises:
        ParameterError: the file is missing, too large, not plain YAML or not a mapping.
    """
    try:
        size = Path(path).stat().st_size
        if size > MOST_BYTES:
            raise ParameterError(path, f"{size} bytes", f"a YAML file of at most {MOST_BYTES}")
        return parse_mapping(Path(path).read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise ParameterError(path, "no such file", "a YAML file of parameters") from None
    except (ValueError, OSError) as error:  # ValueError: not UTF-8
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None


def parse_mapping(text: str, path: object) -> dict[str, Any]:
    """Like `read_mapping`, but from a file's text; `path` is for error messages."""
    try:
        content = yaml.load(text, _PlainLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None
    if not isinstance(content, dict):
        raise ParameterError(path, type(content).__name__, "a mapping of sections with their parameters")
    return content


def refuse_renamed(values: Mapping[str, Any], path: object) -> None:
    """Raise ParameterError, with the name, for a parameter that has been renamed or removed."""
    for name in _dotted_names(values, ""):
        prefix = _VARIANT_PREFIX.match(name)
        old = name[prefix.end() :] if prefix else name
        if old in RENAMED:
            new = name.removesuffix(old) + RENAMED[old]
            raise ParameterError(f"{path}: {name}", "a parameter's old name", f"its new name, {new}")
        if old in REMOVED:
            raise ParameterError(f"{path}: {name}", f"a removed parameter ({REMOVED[old]})", "a file without it")


def _dotted_names(values: Any, parent: str) -> Sequence[str]:
    if isinstance(values, list):
        return [name for item in values for name in _dotted_names(item, parent)]
    if not isinstance(values, Mapping):
        return []
    names = []
    for key, inner in values.items():
        name = f"{parent}.{key}" if parent else str(key)
        names += [name, *_dotted_names(inner, name)]
    return names


def load_section(schema: type[Section], section: str, path: Path = DEFAULT_PATH) -> Section:
    """Load one section of a parameter file as a dataclass; `section` may be dotted ("record_sample.traffic").

    Raises:
        ParameterError: the section does not exist, or its values are not valid (see `schema.from_values`).
    """
    values: Any = read_parameters(path)
    for key in section.split("."):
        if not isinstance(values, dict) or key not in values:
            known = ", ".join(map(str, values)) if isinstance(values, dict) else "nothing"
            raise ParameterError(f"{path}: {section}", f"no {key!r}", f"one of {known}")
        values = values[key]
    return from_values(schema, values, f"{path}: {section}")
