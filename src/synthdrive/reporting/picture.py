"""A picture of the report: a title, what to look at, and one or more panels that a page can lay out for its width."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from synthdrive.reporting.palette import with_variables


@dataclass(frozen=True)
class LegendEntry:
    """What one mark of a picture means.

    Attributes:
        role: its colour in the palette.
        label: its meaning.
        mark: line, dashed, dot or band.
    """

    role: str
    label: str
    mark: str = "line"


@dataclass(frozen=True)
class Panel:
    """One SVG drawing with a short title, which names it inside its picture.

    Attributes:
        name: file stem, unique in the picture.
        title: what is in it, one line.
        svg: a whole SVG document with literal light colours.
    """

    name: str
    title: str
    svg: str

    def inline(self, prefix: str) -> str:
        """The drawing for embedding in a page: colours as CSS variables, ids made unique by `prefix`, size from CSS."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
        body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
        label = self.title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        body = body.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        body = re.sub(
            r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend|[A-Za-z]*[Cc]ollection)[_0-9]*"',
            "",
            body,
        )
        body = re.sub(r'\bid="', f'id="{prefix}-', body)
        body = re.sub(r"url\(#", f"url(#{prefix}-", body)
        body = re.sub(r'xlink:href="#', f'xlink:href="#{prefix}-', body)
        return with_variables(re.sub(r"\n\s*", "\n", body)).strip()


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes:
        name: folder of its panels under `pictures/`.
        title: heading.
        caption: what it shows and what to look at.
        panels: its drawings, in reading order.
        legend: what the marks mean.
        panel_width: CSS pixels below which a panel should not shrink where there is room.
        columns: panels that belong beside each other, kept in rows of that many; 0: as many as fit.
        narrow_columns: how many of these stand beside each other on a phone, in several rows.
        chart: whether its panels have axes; those of a map have a scale bar.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendEntry, ...] = ()
    panel_width: int = 280
    columns: int = 0
    narrow_columns: int = 0
    chart: bool = False

    def write(self, folder: Path) -> list[Path]:
        """Write the panels as `<folder>/<name>/<panel>.svg`; returns their paths."""
        target = folder / self.name
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for panel in self.panels:
            paths.append(target / f"{panel.name}.svg")
            paths[-1].write_text(panel.svg, encoding="utf-8")
        return paths
