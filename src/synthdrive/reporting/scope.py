"""What a run of this size, on this data, can show and what it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.published import Published

SOURCES = {
    "sample": "the embedded sample: SUMO traffic on the street networks of Berlin and Braunschweig (OpenStreetMap)",
    "argoverse1": "Argoverse 1 motion forecasting",
}


@dataclass(frozen=True)
class Setting:
    """One line of "this run beside the paper's".

    Attributes:
        name: what is set; ours, paper: the values in words.
    """

    name: str
    ours: str
    paper: str

    @property
    def equal(self) -> bool:
        """Whether both are the same."""
        return self.ours == self.paper


def settings(measured: Measurements, published: Published, cards: Mapping[str, Mapping[str, Any]]) -> list[Setting]:
    """This run beside the published one; `cards` by stage, of a cell that was pre-trained where there is one."""
    data, theirs = published.values["data"], published.values["settings"]
    lines = [
        Setting("data", short_source(measured.source), short_source(data["source"])),
        Setting("train scenes", f"{measured.train_scenes:,}", f"{data['train_scenes']:,}"),
        Setting("validation scenes", f"{measured.scene_count:,}", f"{data['val_scenes']:,}"),
        Setting("synthetic windows", f"{measured.windows:,}", f"{data['windows']:,}"),
        Setting("seeds per variant", str(len(measured.seeds)), str(data["seeds"])),
    ]
    for stage, section, key, name, published_key in (
        ("finetune", "model", "hidden_size", "feature width", "hidden_size"),
        ("pretrain", "pretrain", "epochs", "pre-training epochs", "pretrain_epochs"),
        ("pretrain", "pretrain", "batch", "pre-training batch", "pretrain_batch"),
        ("finetune", "finetune", "epochs", "fine-tuning epochs", "finetune_epochs"),
        ("finetune", "finetune", "batch", "fine-tuning batch", "finetune_batch"),
    ):
        parameters = cards.get(stage, {}).get("run", {}).get("parameters", {}).get(section, {})
        if key in parameters:
            lines.append(Setting(name, f"{parameters[key]:,}", f"{theirs[published_key]:,}"))
    return lines


def scope(measured: Measurements, published: Published) -> list[tuple[str, str]]:
    """(heading, sentence) of what to keep in mind when reading the results; empty for the paper's data at full size."""
    data = published.values["data"]
    full = measured.train_scenes >= 0.95 * data["train_scenes"] and measured.scene_count >= 0.95 * data["val_scenes"]
    if measured.source == data["source"] and full:
        return []
    if measured.source == data["source"]:
        share = measured.train_scenes / data["train_scenes"]
        return [
            ("Can show", "Whether a variant changes the error on real scenes at this size: variants are compared on the same "
             "scenes and seeds, and the interval says how sure that is."),
            ("Cannot show", f"The published levels and sizes: {measured.train_scenes:,} train scenes are {share:.1%} "
             f"of the paper's {data['train_scenes']:,}, and {measured.scene_count:,} validation scenes resolve less "
             f"than its {data['val_scenes']:,}."),
        ]  # fmt: skip
    return [
        ("Can show", "Whether every step of the method runs and learns: maps are warped, driven and checked, "
         "reconstruction losses fall, forecasts beat constant velocity and lane following; and whether variants differ "
         "here, compared on the same scenes and seeds with an interval."),
        ("Cannot show", "The published levels and sizes. The scenes are simulated traffic, not recorded; there are "
         f"{measured.train_scenes:,} to train on instead of {data['train_scenes']:,}; and a simulator's drivers are "
         "easier to copy than people. The columns stand beside each other, not on the same scale."),
    ]  # fmt: skip


def source_in_words(source: str) -> str:
    """The data source as a reader knows it."""
    return SOURCES.get(source, source)


def short_source(source: str) -> str:
    """The data source in two words."""
    return {"sample": "embedded sample", "argoverse1": "Argoverse 1"}.get(source, source)
