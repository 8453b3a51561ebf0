"""Parameters come from one plain YAML file, section by section, into the dataclasses that declare them (schema.py)."""

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
MOST_BYTES = 1 << 18  # of a parameter file; ten times what params.yaml has

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

# Old dotted name -> new one. A list's index is left out, and so is `variants.<name>.` before what a variant changes.
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
# Dotted names that no longer exist -> why; written as in RENAMED.
REMOVED = {
    "synthesize.lane_changes": "no profile used lane changes",
    "synthesize.traffic": "no profile used vehicles on the focal agent's own route",
}
_OF_A_VARIANT = re.compile(r"variants\.[^.]+\.")


class _PlainLoader(yaml.SafeLoader):
    """YAML as DVC reads it: 1e-3 is a number, a key twice is an error; and no aliases, which can fill any memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node, unless it is another's alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {self.line + 1}, where values are written out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, unless it has a key twice."""
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.YAMLError(f"{key.value!r} twice, the last time in line {node.end_mark.line}")
        return cast(dict[Any, Any], super().construct_mapping(node, deep))


_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*[eE][-+]?\d+"), [*"-+0123456789"]
)


def read_parameters(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """The whole parameter file as plain values.

    Raises:
        ParameterError: it is no mapping of plain YAML, or has an unknown section or a parameter by an old name.
    """
    content = read_mapping(path)
    refuse_renamed(content, path)
    unknown = sorted(set(map(str, content)) - set(SECTIONS))
    if unknown:
        raise ParameterError(f"{path}: {unknown[0]}", "an unknown section", f"one of {', '.join(SECTIONS)}")
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file of names with plain values.

    Raises:
        ParameterError: the file is missing, too large, not YAML, not plain or no mapping.
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
    """As `read_mapping`, from a file's text."""
    try:
        content = yaml.load(text, _PlainLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None
    if not isinstance(content, dict):
        raise ParameterError(path, type(content).__name__, "sections with their parameters")
    return content


def refuse_renamed(values: Mapping[str, Any], path: object) -> None:
    """Raise ParameterError for a parameter that has another name now, or was removed; says which."""
    for name in _dotted_names(values, ""):
        prefix = _OF_A_VARIANT.match(name)
        old = name[prefix.end() :] if prefix else name
        if old in RENAMED:
            new = name.removesuffix(old) + RENAMED[old]
            raise ParameterError(f"{path}: {name}", "a parameter's old name", f"its new name, {new}")
        if old in REMOVED:
            raise ParameterError(f"{path}: {name}", f"a removed parameter ({REMOVED[old]})", "a file without it")


def _dotted_names(values: Any, above: str) -> Sequence[str]:
    if isinstance(values, list):
        return [name for item in values for name in _dotted_names(item, above)]
    if not isinstance(values, Mapping):
        return []
    names = []
    for key, inner in values.items():
        name = f"{above}.{key}" if above else str(key)
        names += [name, *_dotted_names(inner, name)]
    return names


def load_section(schema: type[Section], section: str, path: Path = DEFAULT_PATH) -> Section:
    """One section of the file as its dataclass; `section` may be dotted ("record_sample.traffic").

    Raises:
        ParameterError: see `schema.from_values`, or there is no such section.
    """
    values: Any = read_parameters(path)
    for key in section.split("."):
        if not isinstance(values, dict) or key not in values:
            known = ", ".join(map(str, values)) if isinstance(values, dict) else "nothing"
            raise ParameterError(f"{path}: {section}", f"no {key!r}", f"one of {known}")
        values = values[key]
    return from_values(schema, values, f"{path}: {section}")
