"""Everything the report says, before it is laid out: the page, its Markdown twin and results.json show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from synthdrive.reporting.claim_outcome import Verdict
from synthdrive.reporting.claims import Judged
from synthdrive.reporting.gates import Gate
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.metric_names import HEADLINE, ONE_GUESS, counted, metric
from synthdrive.reporting.motion_evidence import MotionEvidence, ReleasedMotion
from synthdrive.reporting.picture import Picture
from synthdrive.reporting.published import Published
from synthdrive.reporting.records import Record, common
from synthdrive.reporting.results_table import Row, losing_rows, rows_as_json
from synthdrive.reporting.scope import Setting, scope, source_in_words
from synthdrive.reporting.strata_table import StrataTable


@dataclass(frozen=True)
class Pictures:
    """The pictures by the section that they stand in.

    Attributes:
        results, data, synthesis, training, forecasts: in reading order.
    """

    results: tuple[Picture, ...]
    data: tuple[Picture, ...]
    synthesis: tuple[Picture, ...]
    training: tuple[Picture, ...]
    forecasts: tuple[Picture, ...]

    def all(self) -> tuple[Picture, ...]:
        """Every picture."""
        return self.results + self.data + self.synthesis + self.training + self.forecasts


@dataclass(frozen=True)
class Content:
    """The report.

    Attributes:
        measured, published: the numbers it stands on.
        variants: (name, description) of every variant that was run.
        rows: the results table; other_rows: the same rows with the metrics that the paper does not print.
        judged: the claims ledger with its verdicts.
        strata: errors by kind of scene.
        settings: this run beside the published one.
        gates: results of the data gates.
        records: what made every trained or evaluated artifact.
        motion: how synthetic and recorded motion differ.
        beside_released: the same with the authors' released windows; None without them.
        released_errors: how far our driver is from these windows; None without them.
        pictures: all pictures.
    """

    measured: Measurements
    published: Published
    variants: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    other_rows: Sequence[Row]
    other_metrics: Sequence[str]
    judged: Sequence[Judged]
    strata: StrataTable
    settings: Sequence[Setting]
    gates: Sequence[Gate]
    records: Sequence[Record]
    motion: MotionEvidence
    beside_released: ReleasedMotion | None
    released_errors: Mapping[str, float] | None
    pictures: Pictures

    @property
    def warnings(self) -> list[str]:
        """Learned rows that a forecast without training beats, and gates that did not pass."""
        failed = [f"The gate {gate.name} did not pass." for gate in self.gates if not gate.success]
        whole = [replace(row, cells={**row.cells, **other.cells})
                 for row, other in zip(self.rows, self.other_rows, strict=True)]  # fmt: skip
        return losing_rows(whole, [*HEADLINE, *ONE_GUESS]) + failed

    @property
    def scope(self) -> list[tuple[str, str]]:
        """What this run can show and what it cannot."""
        return scope(self.measured, self.published)

    @property
    def source(self) -> str:
        """The data in words."""
        return source_in_words(self.measured.source)

    @property
    def tally(self) -> dict[str, int]:
        """How many claims have each verdict."""
        return {str(verdict): sum(entry.outcome.verdict == verdict for entry in self.judged) for verdict in Verdict}

    @property
    def claim_groups(self) -> list[tuple[str, list[Judged]]]:
        """Claims under their headings, in the ledger's order."""
        groups: dict[str, list[Judged]] = {}
        for entry in self.judged:
            groups.setdefault(entry.claim.group, []).append(entry)
        return list(groups.items())

    @property
    def headline(self) -> list[str]:
        """The result in a few sentences, computed from the table."""
        measured = self.measured
        base = measured.level(measured.reference, "minFDE6")
        spread = "" if base.spread is None else f" ± {base.spread:.3f}"
        sentences = [
            f"Without pre-training minFDE6 is {base.mean:.3f}{spread} m over {counted(len(measured.seeds), 'seed')}."
        ]
        compared = [row for row in self.rows if row.kind == "learned" and row.name != measured.reference]
        lower, none, higher = (
            [row.label for row in compared if (d := row.cells["minFDE6"].difference) and d.verdict == verdict]
            for verdict in ("lower", "no difference", "higher")
        )
        for labels, text in (
            (lower, "Pre-training lowers it beyond the 95 % interval: {}."),
            (none, "No difference can be told from none: {}."),
            (higher, "Pre-training raises it beyond the 95 % interval: {}."),
        ):
            if labels:
                sentences.append(text.format(", ".join(labels)))
        return sentences

    @property
    def commit(self) -> str:
        """The commit, or commits, that made the artifacts."""
        return common(self.records, "commit")

    @property
    def device(self) -> str:
        """What it was trained and evaluated on."""
        return common(self.records, "device")

    def as_json(self) -> dict[str, Any]:
        """All numbers of the report as plain values."""
        return {
            "run": self.measured.as_json() | {"commit": self.commit, "device": self.device},
            "units": {name: metric(name).unit for name in (*HEADLINE, *self.other_metrics)},
            "warnings": self.warnings,
            "scope": dict(self.scope),
            "settings": [asdict(setting) for setting in self.settings],
            "results": rows_as_json(self.rows),
            "other_results": rows_as_json(self.other_rows),
            "strata": asdict(self.strata),
            "claims": [
                {
                    "id": entry.claim.identifier,
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
            "claims_tally": self.tally,
            "motion_distances": self.motion.distances,
            "released": self._released_as_json(),
            "gates": {gate.name: {"success": gate.success, "expectations": gate.evaluated} for gate in self.gates},
            "records": [asdict(record) for record in self.records],
            "pictures": {
                picture.name: [f"pictures/{picture.name}/{panel.name}.svg" for panel in picture.panels]
                for picture in self.pictures.all()
            },
        }

    def _released_as_json(self) -> dict[str, Any] | None:
        beside = self.beside_released
        if beside is None:
            return None
        distances = {f"{first}-{second}": apart for (first, second), apart in beside.distances.items()}
        return {"tracks": beside.tracks, "motion_distances": distances, "driven_again": self.released_errors}
