"""The content of the report, before it is laid out; the HTML page, report.md and results.json all show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synthdrive.config.data import OFFICIAL
from synthdrive.reporting.claims import ABOUT, EFFECT, Judged, tally, tally_text
from synthdrive.reporting.evidence import MotionEvidence, Published
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.picture import Picture
from synthdrive.reporting.tables import Row, Setting, StrataTable, Validated, rows_as_json
from synthdrive.reporting.wording import (
    HEADLINE,
    ONE_GUESS,
    counted,
    label_of,
    listed,
    metric,
    number_and_unit,
    source_in_words,
)

FLOORS = {"lanes": ("straight", "repeat", "zero"), "trajectory": ("quadratic", "constant_velocity", "zero")}
FLOOR_NAMES = {
    "straight": "straight extrapolation",
    "repeat": "repeating the first vector",
    "quadratic": "a quadratic",
    "constant_velocity": "constant velocity",
    "zero": "predicting zero",
}


@dataclass(frozen=True)
class Pictures:
    """The pictures of the report by section, in reading order.

    Attributes:
        effects: the chart at the top of the page; None if there is only one variant.
        results, data, synthesis, training, forecasts: the pictures of these sections.
    """

    effects: Picture | None
    results: tuple[Picture, ...]
    data: tuple[Picture, ...]
    synthesis: tuple[Picture, ...]
    training: tuple[Picture, ...]
    forecasts: tuple[Picture, ...]

    def all(self) -> tuple[Picture, ...]:
        """All pictures of all sections."""
        first = () if self.effects is None else (self.effects,)
        return first + self.results + self.data + self.synthesis + self.training + self.forecasts


@dataclass(frozen=True)
class Content:
    """The content of the report.

    Attributes:
        measured, published: the numbers behind it.
        variants: (name, description) of every variant that was run.
        rows: the results; other_rows: the same rows with the metrics `other_metrics`, which the paper does not print.
        judged: the claims with their verdicts.
        untrained: why this run cannot test any effect; empty if it can.
        without_encoder_gain: variants whose pre-training hardly trained the encoder.
        reconstruction: variant -> lanes or trajectory -> losses on held-out windows, of the network and of simple
            predictors; may be empty.
        strata: errors by kind of scene.
        settings: this run beside the published one.
        validation: results of data validation.
        motion: motion of synthetic windows and of recorded scenes.
        pictures: all pictures.
    """

    measured: Measurements
    published: Published
    variants: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    other_rows: Sequence[Row]
    other_metrics: Sequence[str]
    judged: Sequence[Judged]
    untrained: str
    without_encoder_gain: frozenset[str]
    reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]
    strata: StrataTable
    settings: Sequence[Setting]
    validation: Sequence[Validated]
    motion: MotionEvidence
    pictures: Pictures

    @property
    def warnings(self) -> list[str]:
        """Failed data validation, and variants or reconstructions that lose to a baseline or simple predictor."""
        failed = dict.fromkeys(one.of for one in self.validation if one.met < len(one.expectations))
        found = [f"Data validation failed: {name}." for name in failed]
        for variant in self.measured.variants:
            for baseline, lost in self.measured.losses(variant, (*HEADLINE, *ONE_GUESS)).items():
                numbers = [
                    f"{metric(name).label} ({metric(name).text(self.measured.mean(variant, name))} against "
                    f"{number_and_unit(name, self.measured.mean(baseline, name))})"
                    for name in lost
                ]
                found.append(f"{label_of(variant)} loses to {label_of(baseline).lower()} in {listed(numbers)}.")
        return found + reconstruction_warnings(self.reconstruction)

    @property
    def source(self) -> str:
        """The data source in words."""
        return source_in_words(self.measured.source)

    @property
    def tallies(self) -> dict[str, dict[str, int]]:
        """Topic of claims -> verdict -> number of claims."""
        return {about: tally(self.judged, about) for about in ABOUT}

    @property
    def claim_groups(self) -> list[tuple[str, list[Judged]]]:
        """Claims by heading, in the ledger's order."""
        groups: dict[str, list[Judged]] = {}
        for entry in self.judged:
            groups.setdefault(entry.claim.group, []).append(entry)
        return list(groups.items())

    @property
    def headline(self) -> str:
        """How many of the paper's effects have each verdict, and the main finding of this run."""
        effects = self.tallies[EFFECT]
        count = sum(effects.values())
        text = f"Of {counted(count, 'effect')} that the paper reports: {tally_text(effects)}. "
        if lost := [label_of(name) for name in self.measured.variants if name in self.without_encoder_gain]:
            text += f"{listed(lost)} hardly trained the encoder. "
        return text + self.finding

    @property
    def finding(self) -> str:
        """The main finding: the largest significant change, better or worse; without one, the best variant's error."""
        measured = self.measured
        if self.untrained:
            return f"This run cannot test any effect. {self.untrained}"
        found = []
        for row in self.rows:
            for name in HEADLINE:
                difference = row.entries[name].difference
                if difference is not None and difference.direction != "unclear":
                    found.append((row.label, name, difference))
        if found:
            # Changes without a relative value (the baseline's error is or may be 0) come last.
            label, name, difference = max(
                found, key=lambda one: (one[2].relative is not None, abs((one[2].relative or (0.0,))[0]))
            )
            verb = "lowers" if difference.direction == "lower" else "raises"
            change, low, high = (abs(value) for value in difference.shown)
            nearer, farther = sorted((low, high))
            if difference.relative is None:
                unit = metric(name).unit.replace("%", "percentage points")
                by, interval = f"{change:.3f} {unit}", f"{nearer:.3f} to {farther:.3f}"
            else:
                by = f"{change:.1f} %"
                interval = f"{nearer:.{1 if nearer >= 0.05 else 2}f} to {farther:.1f} %"
            return (
                f"This run shows: {label[0].lower()}{label[1:]} {verb} {metric(name).label} by {by} "
                f"(95 % interval: {interval})."
            )
        best = min(measured.variants, key=lambda one: measured.mean(one, "minFDE6"))
        reached = number_and_unit("minFDE6", measured.mean(best, "minFDE6"))
        floor = ""
        if "lane_following" in measured.baselines:
            floor = f", lane following {number_and_unit('minFDE6', measured.mean('lane_following', 'minFDE6'))}"
        none = "; no difference from the baseline is statistically significant" if len(measured.variants) > 1 else ""
        return f"This run shows: {label_of(best)} reaches minFDE6 {reached}{floor}{none}."

    @property
    def scope(self) -> str:
        """Which numbers cannot be compared with the paper's, and why; empty for the paper's data at full size."""
        measured, data = self.measured, self.published.values["data"]
        sizes = (measured.train_scenes, data["train_scenes"]), (measured.scene_count, data["val_scenes"])
        if measured.source != data["source"]:
            if measured.source == "argoverse2":
                return (
                    f"Another dataset ({self.source}), {sizes[0][0]:,} train scenes: longer histories and horizons, so "
                    "absolute errors cannot be compared with the paper's; effects can."
                )
            return (
                f"Simulated traffic ({self.source}), {sizes[0][0]:,} train scenes instead of {sizes[0][1]:,} recorded "
                "ones: absolute errors cannot be compared with the paper's, and effects may differ on real traffic."
            )
        if measured.validation != OFFICIAL:
            return (
                f"Not the official validation scenes (ingest.validation: {measured.validation}): {sizes[0][0]:,} train "
                f"and {sizes[1][0]:,} validation scenes. Changes can be compared with the paper's, absolute errors "
                "cannot."
            )
        if all(ours >= 0.95 * theirs for ours, theirs in sizes):
            return ""
        (train, all_train), (val, all_val) = sizes
        return (
            f"Not the paper's size: {train:,} of its {all_train:,} train scenes, {val:,} of its {all_val:,} validation "
            "scenes. Changes can be compared with the paper's, absolute errors cannot."
        )

    def as_json(self) -> dict[str, Any]:
        """All numbers of the report as plain values."""
        return {
            "run": self.measured.as_json(),
            "headline": self.headline,
            "units": {name: metric(name).unit for name in (*HEADLINE, *self.other_metrics)},
            "warnings": self.warnings,
            "scope": self.scope,
            "settings": [asdict(setting) for setting in self.settings],
            "results": rows_as_json(self.rows),
            "other_results": rows_as_json(self.other_rows),
            "reconstruction": self.reconstruction,
            "strata": asdict(self.strata),
            "claims": [
                {
                    "id": entry.claim.identifier,
                    "about": entry.claim.about,
                    "group": entry.claim.group,
                    "says": entry.says,
                    "source": entry.claim.source,
                    "test": entry.claim.test,
                    "measured": entry.outcome.measured,
                    "verdict": str(entry.outcome.verdict),
                    "why": entry.outcome.why,
                }
                for entry in self.judged
            ],
            "claims_tally": self.tallies,
            "motion_distances": self.motion.distances,
            "data_validation": [
                {
                    "of": one.of,
                    "table": one.table,
                    "expectations": len(one.expectations),
                    "met": one.met,
                    "outliers": [list(outlier) for outlier in one.outliers],
                }  # fmt: skip
                for one in self.validation
            ],
            "pictures": {
                picture.name: [f"pictures/{picture.name}/{panel.name}.svg" for panel in picture.panels]
                for picture in self.pictures.all()
            },
        }


def reconstruction_warnings(reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return a sentence for every variant and task whose loss is not below that of a simple predictor."""
    found = []
    for variant, tasks in reconstruction.items():
        for task, losses in tasks.items():
            floors = (*FLOORS[task], "blind")
            lost = _not_better_than(losses, floors)
            if lost:
                names = FLOOR_NAMES | {"blind": "a decoder that does not see the encoder"}
                than = listed([f"{names[name]} ({losses[name]:.3g})" for name in lost])
                found.append(
                    f"{label_of(variant)}, {task}: the loss {losses['loss']:.3g} is no better than that of {than}."
                )
    return found


def undertrained(reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]) -> frozenset[str]:
    """Return the variants that lose to some simple predictor in every task, lanes and trajectory."""
    return frozenset(
        variant
        for variant, tasks in reconstruction.items()
        if all(_not_better_than(losses, FLOORS[task]) for task, losses in tasks.items())
    )


def without_encoder_gain(
    reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]], min_encoder_gain: float
) -> frozenset[str]:
    """Return the variants whose encoder gain is below `min_encoder_gain` in every task, lanes and trajectory.

    Their decoder hardly needs the encoder, so pre-training leaves nothing in it that fine-tuning could use.
    """
    return frozenset(
        variant
        for variant, tasks in reconstruction.items()
        if all(losses["gain"] < min_encoder_gain for losses in tasks.values())
    )


def _not_better_than(losses: Mapping[str, float], floors: Sequence[str]) -> list[str]:
    return [name for name in floors if name in losses and losses["loss"] >= losses[name]]
