"""A picture of the report: SVG panels with a title and a legend, in colours that follow the page's theme."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LIGHT = {
    "paper": "#fffffe",
    "ink": "#1d2126",
    "muted": "#656c75",
    "grid": "#e3e1dc",
    "lane": "#c6c3bc",
    "original": "#9b958a",
    "warped": "#2667b0",
    "observed": "#2c4a8f",
    "truth": "#0f7d58",
    "forecast": "#d4611a",
    "best": "#b3241c",
    "masked": "#b06fb5",
    "others": "#8b93a0",
    "synthetic": "#d5691f",
    "recorded": "#2b66ae",
    "variant0": "#6f7681",
    "variant1": "#2a69b2",
    "variant2": "#c9541f",
    "variant3": "#6c47a4",
    "variant4": "#8f7b16",
    "variant5": "#1d8a80",
    "scale0": "#3a3a8c",
    "scale1": "#2c6fb4",
    "scale2": "#1f9a9c",
    "scale3": "#58ad4f",
    "scale4": "#cfa012",
    "scale5": "#d94f1c",
    "heat0": "#f4cfa6",
    "heat1": "#f0a662",
    "heat2": "#dd7328",
    "heat3": "#a63d0b",
}

DARK = {
    "paper": "#17191c",
    "ink": "#e9e7e2",
    "muted": "#a3a8af",
    "grid": "#34383d",
    "lane": "#4b5057",
    "original": "#80868f",
    "warped": "#6cacf2",
    "observed": "#8fb0ff",
    "truth": "#4fd09c",
    "forecast": "#ff9a55",
    "best": "#ff7468",
    "masked": "#d79bdc",
    "others": "#737c89",
    "synthetic": "#ff9f5a",
    "recorded": "#70aef5",
    "variant0": "#a9b0ba",
    "variant1": "#6fb0f7",
    "variant2": "#ff9361",
    "variant3": "#b795f0",
    "variant4": "#d9c45a",
    "variant5": "#5cd0c4",
    "scale0": "#8585ee",
    "scale1": "#64a9f0",
    "scale2": "#4fcfd0",
    "scale3": "#8edb83",
    "scale4": "#f3cb4e",
    "scale5": "#ff8457",
    "heat0": "#51361f",
    "heat1": "#8f5522",
    "heat2": "#dd7f2f",
    "heat3": "#ffc081",
}

SCALE = tuple(f"scale{i}" for i in range(6))  # a quantity in six steps, low to high
HEAT = tuple(f"heat{i}" for i in range(4))  # a probability in four steps, low to high
VARIANTS = tuple(f"variant{i}" for i in range(6))  # trained variants in the order of the run

_ROLES = {shade: role for role, shade in LIGHT.items()}
_COLOUR = re.compile(r"(fill|stroke|stop-color)(: ?|=\")(#[0-9a-f]{6})")


def colour(role: str) -> str:
    """Return the light shade of a role, which represents the role in picture files."""
    return LIGHT[role]


def variant_colour(position: int) -> str:
    """Return the colour of the variant at this position in the run's order; the colours repeat after six."""
    return LIGHT[VARIANTS[position % len(VARIANTS)]]


def with_variables(svg: str) -> str:
    """Replace every palette colour of an SVG by a CSS variable (`var(--ink)`), which the page defines."""

    def variable(match: re.Match[str]) -> str:
        role = _ROLES.get(match.group(3))
        return match.group(0) if role is None else f"{match.group(1)}{match.group(2)}var(--{role})"

    return _COLOUR.sub(variable, svg)


def css_variables(shades: dict[str, str]) -> str:
    """Return the CSS declarations of one theme."""
    return "".join(f"--{role}:{shade};" for role, shade in shades.items())


@dataclass(frozen=True)
class LegendEntry:
    """Meaning of one mark of a picture.

    Attributes:
        role: its colour in the palette.
        label: its meaning.
        mark: line, dot, ring, diamond or band.
    """

    role: str
    label: str
    mark: str = "line"


@dataclass(frozen=True)
class Panel:
    """One SVG drawing of a picture, with a title.

    Attributes:
        name: file stem, unique in the picture.
        title: what it shows, in one line.
        svg: a complete SVG document in the light colours.
    """

    name: str
    title: str
    svg: str

    def inline(self, prefix: str) -> str:
        """Return the SVG for embedding: colours as CSS variables, ids made unique by `prefix`, size set by CSS."""
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
        legend: the meaning of its marks.
        panel_width: CSS pixels, width of a panel where there is room.
        columns: number of panels in a row that belong together; 0 for as many as fit.
        narrow_columns: number of panels in a row on a phone.
        chart: whether its panels are charts with axes rather than maps with a scale bar.
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
        """Write the panels as `<folder>/<name>/<panel>.svg` and return their paths."""
        target = folder / self.name
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for panel in self.panels:
            paths.append(target / f"{panel.name}.svg")
            paths[-1].write_text(panel.svg, encoding="utf-8")
        return paths
