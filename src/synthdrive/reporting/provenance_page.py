"""How every trained or evaluated artifact came about: a page of its own, as the report is the same everywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.provenance import load_provenance

SHORT = 10  # characters of a hash that are shown
STAGES = ("pretrain", "finetune", "evaluate")

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;white-space:nowrap}"
)


@dataclass(frozen=True)
class Record:
    """Provenance of one trained or evaluated artifact, shortened for reading.

    Attributes:
        run: variant and seed; stage: pretrain, finetune or evaluate.
        commit: abbreviated, with a plus where files differed from it; "none" without git.
        code, parameters: abbreviated SHA-256.
        inputs: name and abbreviated SHA-256 of what was read.
        device, threads, seconds: what it ran on, threads of each process on a CPU, and how long it trained.
        python, packages: versions.
    """

    run: str
    stage: str
    commit: str
    code: str
    parameters: str
    inputs: str
    device: str
    threads: str
    seconds: str
    python: str
    packages: str


def records(root: Path, runs: Sequence[str]) -> list[Record]:
    """What stages recorded of these runs; an artifact that was fetched rather than made here has no record."""
    found = [(run, stage, load_provenance(root, stage, run)) for run in runs for stage in STAGES]
    return [_record(run, stage, content) for run, stage, content in found if content.get("made_by")]


def write_provenance_page(root: Path, runs: Sequence[str]) -> None:
    """Write `<root>/index.html`: a table with a row for each artifact of these runs that was made here."""
    rows = records(root, runs)
    names = [field.name for field in fields(Record)]
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(getattr(row, name))}</td>" for name in names) + "</tr>" for row in rows
    )
    with atomic_file(Path(root) / "index.html") as partial:
        partial.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Provenance</title><style>{_STYLE}</style>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><h1>Provenance</h1>'
            f"<p>{len(rows)} artifacts were made here. Hashes are SHA-256, shortened. A plus behind a commit: files "
            f"differed from it.</p><div><table><tr>{head}</tr>{body}</table></div></html>\n",
            encoding="utf-8",
        )


def _record(run: str, stage: str, content: Mapping[str, Any]) -> Record:
    made, training = content["made_by"], content.get("training", {})
    commit = str(made["commit"])[:SHORT] if made.get("commit") else "none"
    packages = made.get("packages") or {}
    return Record(
        run=run,
        stage=stage,
        commit=commit + ("+" if made.get("modified") else ""),
        code=str(made.get("code") or "")[:SHORT],
        parameters=str(made.get("parameters_sha256") or "")[:SHORT],
        inputs=", ".join(f"{name} {str(value)[:SHORT]}" for name, value in (made.get("inputs") or {}).items()),
        device=str(made.get("device") or ""),
        threads=str(training.get("threads") or ""),
        seconds=str(training.get("seconds") or ""),
        python=str(made.get("python") or ""),
        packages=", ".join(f"{name} {value}" for name, value in packages.items() if value),
    )
