"""Run records: which commit, code, parameters, data, packages and device made each trained or evaluated artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORT = 10  # characters of a hash that are shown


@dataclass(frozen=True)
class Record:
    """One artifact's record, shortened for reading; the whole is in its metadata.json.

    Attributes:
        cell: variant and seed; stage: pretrain, finetune or evaluate.
        commit: abbreviated, with a plus where files differed from it; "none" without git.
        code, parameters: abbreviated SHA-256.
        inputs: name and abbreviated SHA-256 of what was read.
        device, python, packages: what it ran on.
    """

    cell: str
    stage: str
    commit: str
    code: str
    parameters: str
    inputs: str
    device: str
    python: str
    packages: str


def records(cards: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Record]:
    """Records from cards: cell -> stage -> card; a stage that made nothing (a variant without pre-training) has none."""
    pairs = [(cell, stage, card) for cell, stages in cards.items() for stage, card in stages.items()]
    return [_record(cell, stage, card) for cell, stage, card in pairs if card.get("pretrained") is not False]


def common(entries: Sequence[Record], field: str) -> str:
    """The value that all records share, or all of them in order, joined by commas."""
    return ", ".join(dict.fromkeys(value for entry in entries if (value := getattr(entry, field)))) or "unknown"


def _record(cell: str, stage: str, card: Mapping[str, Any]) -> Record:
    run = card.get("run") or card.get("record") or {}
    commit = str(run["commit"])[:SHORT] if run.get("commit") else "none"
    packages = run.get("packages") or {}
    return Record(
        cell=cell,
        stage=stage,
        commit=commit + ("+" if run.get("modified") else ""),
        code=str(run.get("code") or "")[:SHORT],
        parameters=str(run.get("parameters_sha256") or "")[:SHORT],
        inputs=", ".join(f"{name} {str(value)[:SHORT]}" for name, value in (run.get("inputs") or {}).items()),
        device=str(run.get("device") or ""),
        python=str(run.get("python") or ""),
        packages=", ".join(f"{name} {value}" for name, value in packages.items() if value),
    )
