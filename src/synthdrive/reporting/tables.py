"""The report's tables: results beside the paper's, errors by kind of scene, settings and data validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synthdrive.core.errors import InputError
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.measurements import Difference, Level, Measurements
from synthdrive.reporting.run_results import Metadata, parameters_of
from synthdrive.reporting.wording import (
    HEADLINE,
    label_of,
    metric,
    short_source,
    stratum_order,
    stratum_words,
)


@dataclass(frozen=True)
class Entry:
    """One metric of one row of the results.

    Attributes:
        level: the measured level; None if the variant was not run.
        difference: difference from the reference; None for the reference itself, baselines and own forecasts.
        published: the paper's value; published_change: its printed change against its baseline, per cent.
    """

    level: Level | None
    difference: Difference | None
    published: float | None
    published_change: float | None


@dataclass(frozen=True)
class Row:
    """One row of the results.

    Attributes:
        name: variant, baseline or own forecasts; label: its name as shown.
        kind: learned, baseline, own (a user's own forecasts) or not run.
        entries: by metric name.
    """

    name: str
    label: str
    kind: str
    entries: Mapping[str, Entry]


def results_table(measured: Measurements, published: Published, metrics: Sequence[str] = HEADLINE) -> list[Row]:
    """Return the baselines, the paper's rows in its order, the variants that it does not have, and own forecasts."""
    table = list(published.values["table"])
    names = [*measured.baselines, *table, *(variant for variant in measured.variants if variant not in table)]
    names += measured.own
    return [_row(name, measured, published, metrics) for name in names]


def _row(name: str, measured: Measurements, published: Published, metrics: Sequence[str]) -> Row:
    kinds = {"learned": measured.variants, "baseline": measured.baselines, "own": measured.own}
    kind = next((kind for kind, rows in kinds.items() if name in rows), "not run")
    compared = kind == "learned" and name != measured.reference
    entries = {
        one: Entry(
            level=measured.level(name, one) if kind != "not run" else None,
            difference=measured.difference(name, measured.reference, one) if compared else None,
            published=published.level(name, one),
            published_change=published.change(name, one),
        )
        for one in metrics
    }
    label = f"{label_of(name)} (baseline)" if name == measured.reference else label_of(name)
    return Row(name, label, kind, entries)


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the results as plain values."""
    plain = []
    for row in rows:
        metrics = {}
        for name, entry in row.entries.items():
            values: dict[str, Any] = asdict(entry)
            if entry.difference is not None and entry.difference.relative is not None:
                names = ("relative", "relative_low", "relative_high")
                values["difference"] |= dict(zip(names, entry.difference.relative, strict=True))
            metrics[name] = values
        plain.append({"name": row.name, "label": row.label, "kind": row.kind, "metrics": metrics})
    return plain


@dataclass(frozen=True)
class StrataTable:
    """A metric by kind of scene, as means over seeds.

    Attributes:
        metric: its label with unit; columns: labels of baselines, variants and own forecasts.
        rows: (kind of scene in words, number of scenes, a value for each column).
    """

    metric: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[str, ...]], ...]


def strata_table(by_name: Mapping[str, Sequence[Mapping[str, Any]]], name: str = "minFDE6") -> StrataTable:
    """Make the table of one metric.

    Args:
        by_name: variant, baseline or own forecasts -> metrics by kind of scene of each of its runs.
        name: the metric.

    Raises:
        InputError: a run has other kinds of scenes than the first one.
    """
    what = metric(name)
    first = next(iter(by_name.values()))[0]
    for row, runs in by_name.items():
        if any(set(run) != set(first) for run in runs):
            raise InputError(
                f"forecasts of {row}: strata.json",
                "other kinds of scenes than in the other forecasts",
                "those of the current parameters `evaluate`",
                "Score these forecasts again.",
            )
    rows = []
    for stratum in sorted(first, key=stratum_order):
        if first[stratum]["scenes"]:
            means = [[run[stratum][name]["mean"] * what.scale for run in runs] for runs in by_name.values()]
            values = tuple(what.text(sum(one) / len(one)) for one in means)
            rows.append((stratum_words(stratum), first[stratum]["scenes"], values))
    return StrataTable(f"{what.label} ({what.unit})", tuple(map(label_of, by_name)), tuple(rows))


@dataclass(frozen=True)
class Setting:
    """A setting of this run and of the published one, in words."""

    name: str
    ours: str
    paper: str


def settings(measured: Measurements, published: Published, stages: Mapping[str, Metadata]) -> list[Setting]:
    """Compare this run with the published one; `stages`: metadata of a pre-trained run, if there is one."""
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
        ("finetune", "model", "sub_graph_layers", "sub-graph layers", "sub_graph_layers"),
        ("pretrain", "pretrain", "epochs", "pre-training epochs", "pretrain_epochs"),
        ("pretrain", "pretrain", "global_batch_size", "pre-training batch", "pretrain_batch"),
        ("finetune", "finetune", "epochs", "fine-tuning epochs", "finetune_epochs"),
        ("finetune", "finetune", "global_batch_size", "fine-tuning batch", "finetune_batch"),
    ):
        parameters = parameters_of(stages.get(stage, {}), section)
        if key in parameters and published_key in theirs:
            lines.append(Setting(name, f"{parameters[key]:,}", f"{theirs[published_key]:,}"))
    return lines


@dataclass(frozen=True)
class Validated:
    """One table checked by data validation.

    Attributes:
        of: name of the validation (raw, synthetic); table: what the table contains.
        rows: number of rows checked; None if the result does not give it.
        expectations: (description, whether it was met).
        outliers: all rows beyond a limit that permits some: (row, value found, expectation).
    """

    of: str
    table: str
    rows: int | None
    expectations: tuple[tuple[str, bool], ...]
    outliers: tuple[tuple[str, str, str], ...] = ()

    @property
    def met(self) -> int:
        """Number of expectations that were met."""
        return sum(met for _, met in self.expectations)


def validated(results: Mapping[str, Mapping[str, Any]]) -> list[Validated]:
    """Read the tables from the results of data validation by name (raw, synthetic)."""
    return [
        _validated(name, one, result.get("outliers", ()))
        for name, result in results.items()
        for one in result.get("validation_results", ())
    ]


def _validated(name: str, validation: Mapping[str, Any], outliers: Sequence[Mapping[str, Any]]) -> Validated:
    entries = validation.get("expectations", ())
    counts = [entry.get("result", {}).get("element_count") for entry in entries]
    rows = next((count for count in counts if isinstance(count, int)), None)
    expectations = tuple(
        (str(entry.get("description") or entry.get("expectation_type") or "expectation"), bool(entry.get("success")))
        for entry in entries
    )
    table = str(validation.get("table", "table"))
    beyond = tuple(
        (str(one["row"]), str(one["found"]), str(one["expected"])) for one in outliers if one.get("table") == table
    )
    return Validated(name, table, rows, expectations, beyond)
