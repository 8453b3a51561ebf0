"""The files of the report: HTML page, Markdown version, terminal summary, metrics.json and the provenance page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from synthdrive.core.errors import from_extra

with from_extra("report"):
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

from synthdrive.core.artifacts import atomic_file, write_json
from synthdrive.core.provenance import load_provenance
from synthdrive.reporting.content import Content
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.picture import DARK, LIGHT, Panel, Picture, css_variables
from synthdrive.reporting.tables import Entry
from synthdrive.reporting.wording import HEADLINE, counted, label_of, metric, signed

MOST_OUTLIERS = 20  # outliers of one table that the page lists
TEMPLATES = ("report.html.j2", "report.css", "report.md.j2")
SHOWN_LOSSES = {"lanes": ("loss", "blind", "straight", "gain"), "trajectory": ("loss", "blind", "quadratic", "gain")}

SHORT = 10  # characters shown of a hash
STAGES = ("pretrain", "finetune", "evaluate")

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;white-space:nowrap}"
)

_NAME, _PAPER, _HERE = 28, 9, 19  # characters of each column of the summary


def write_pages(content: Content, folder: Path) -> None:
    """Write index.html, report.md, summary.txt, results.json, metrics.json and pictures/ into an existing folder."""
    for picture in content.pictures.all():
        picture.write(folder / "pictures")
    (folder / "index.html").write_text(page(content), encoding="utf-8")
    (folder / "report.md").write_text(markdown(content), encoding="utf-8")
    (folder / "summary.txt").write_text(summary(content) + "\n", encoding="utf-8")
    write_json(folder / "results.json", content.as_json())
    write_json(folder / "metrics.json", headline_metrics(content.measured, content.reconstruction))


def page(content: Content) -> str:
    """Render one self-contained HTML page: styles and drawings inline, no scripts, no external addresses."""
    return _environment(as_html=True).get_template("report.html.j2").render(_template_values(content))


def markdown(content: Content) -> str:
    """Render the same content as Markdown, with links to `pictures/`."""
    return _environment(as_html=False).get_template("report.md.j2").render(_template_values(content))


def summary(content: Content) -> str:
    """Render a summary for the terminal, at most 112 characters wide: the paper's table beside ours, the headline."""
    first, second = "".ljust(_NAME), "".ljust(_NAME)
    for name in HEADLINE:
        first += f"{metric(name).label} ({metric(name).unit})".ljust(_PAPER + _HERE)
        second += "paper".ljust(_PAPER) + "here".ljust(_HERE)
    lines = [first.rstrip(), second.rstrip()]
    for row in content.rows:
        entries = "".join(_summary_cell(row.entries[name], name) for name in HEADLINE)
        lines.append((row.label.ljust(_NAME) + entries).rstrip())
    lines += ["", *(f"{sentence.rstrip('.')}." for sentence in content.headline.split(". "))]
    if content.warnings:
        lines.append(f"{counted(len(content.warnings), 'warning')}: see the page.")
    return "\n".join(lines)


def headline_metrics(
    measured: Measurements, reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, Any]:
    """Return one number per headline metric and variant (stored units, mean over seeds), and reconstruction losses.

    `dvc exp show` makes each of them a column, such as `minFDE6.none`. Baselines are left out, because no training
    parameter affects them.
    """
    found: dict[str, Any] = {
        name: {one: round(measured.mean(one, name) / metric(name).scale, 4) for one in measured.variants}
        for name in HEADLINE
    }
    if reconstruction:
        found["reconstruction"] = {
            variant: {
                task: {key: round(losses[key], 4) for key in SHOWN_LOSSES[task] if key in losses}
                for task, losses in tasks.items()
            }
            for variant, tasks in reconstruction.items()
        }
    return found


def _summary_cell(entry: Entry, name: str) -> str:
    what = metric(name)
    paper = "" if entry.published is None else f"{entry.published:.{2 if what.unit == '%' else 4}f}"
    if entry.level is None:
        return paper.ljust(_PAPER) + "not run".ljust(_HERE)
    spread = "" if entry.level.spread is None else f" ± {what.text(entry.level.spread)}"
    return paper.ljust(_PAPER) + (what.text(entry.level.mean) + spread).ljust(_HERE)


def _template_values(content: Content) -> dict[str, object]:
    return {
        "content": content,
        "measured": content.measured,
        "headline_metrics": [metric(name) for name in HEADLINE],
        "metric": metric,
        "label_of": label_of,
        "most_outliers": MOST_OUTLIERS,
    }


def _environment(as_html: bool) -> Environment:
    folder = files("synthdrive.reporting") / "templates"
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES}
    environment = Environment(
        loader=DictLoader(sources), autoescape=as_html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"signed": signed, "drawing": _drawing, "cell_text": _cell_text, "counted": counted}
    environment.globals |= {"light": css_variables(LIGHT), "dark": css_variables(DARK)}
    return environment


def _drawing(panel: Panel, picture: Picture) -> Markup:
    return Markup(panel.inline(f"{picture.name}-{panel.name}"))


def _cell_text(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


@dataclass(frozen=True)
class Record:
    """Provenance of one trained or evaluated artifact, shortened for reading.

    Attributes:
        run: variant and seed; stage: pretrain, finetune or evaluate.
        commit: abbreviated, with a plus if files differed from it; "none" without git.
        code, parameters: abbreviated SHA-256.
        inputs: names and abbreviated SHA-256 of the inputs.
        device, threads, seconds: device, threads of each process on a CPU, and training time.
        python, packages: their versions.
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
    """Read the provenance of these runs; artifacts that were fetched rather than made here have none."""
    found = [(run, stage, load_provenance(root, stage, run)) for run in runs for stage in STAGES]
    return [_shortened(run, stage, content) for run, stage, content in found if content.get("made_by")]


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
            f"<p>{len(rows)} artifacts were made here. Hashes are SHA-256, shortened. A plus after a commit "
            f"means that tracked files had been modified.</p><div><table><tr>{head}</tr>{body}</table></div></html>\n",
            encoding="utf-8",
        )


def _shortened(run: str, stage: str, content: Mapping[str, Any]) -> Record:
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
