"""The results as plain text, for a terminal."""

from __future__ import annotations

from synthdrive.reporting.content import Content
from synthdrive.reporting.metric_names import HEADLINE, metric
from synthdrive.reporting.results_table import Cell

_NAME, _PAPER, _HERE = 28, 9, 19  # characters of each column


def summary(content: Content) -> str:
    """The paper's table beside ours (at most 112 characters wide), warnings, and the tally of the claims."""
    first, second = "".ljust(_NAME), "".ljust(_NAME)
    for name in HEADLINE:
        first += f"{metric(name).label} ({metric(name).unit})".ljust(_PAPER + _HERE)
        second += "paper".ljust(_PAPER) + "here".ljust(_HERE)
    lines = [first.rstrip(), second.rstrip()]
    for row in content.rows:
        cells = "".join(_cell(row.cells[name], name) for name in HEADLINE)
        lines.append((row.label.ljust(_NAME) + cells).rstrip())
    lines += [f"warning: {warning}" for warning in content.warnings]
    tally = ", ".join(f"{count} {verdict}" for verdict, count in content.tally.items())
    lines.append(f"{len(content.judged)} claims: {tally}")
    return "\n".join(lines)


def _cell(cell: Cell, name: str) -> str:
    what = metric(name)
    paper = "" if cell.published is None else f"{cell.published:.{2 if what.unit == '%' else 4}f}"
    if cell.level is None:
        return paper.ljust(_PAPER) + "not run".ljust(_HERE)
    spread = "" if cell.level.spread is None else f" ± {what.text(cell.level.spread)}"
    return paper.ljust(_PAPER) + (what.text(cell.level.mean) + spread).ljust(_HERE)
