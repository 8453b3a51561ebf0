"""The page and its Markdown twin, from templates."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from synthdrive.reporting.content import Content
from synthdrive.reporting.metric_names import HEADLINE, counted, metric, signed
from synthdrive.reporting.palette import DARK, LIGHT, css_variables
from synthdrive.reporting.picture import Panel, Picture

TEMPLATES = ("report.html.j2", "report.css", "report.md.j2")


def page(content: Content) -> str:
    """One HTML page that holds everything it shows: styles and drawings inline, no script, no address."""
    return _environment(html=True).get_template("report.html.j2").render(_values(content))


def markdown(content: Content) -> str:
    """The same in Markdown, with links to `pictures/`."""
    return _environment(html=False).get_template("report.md.j2").render(_values(content))


def _values(content: Content) -> dict[str, object]:
    return {"content": content, "headline_metrics": [metric(name) for name in HEADLINE], "metric": metric}


def _environment(html: bool) -> Environment:
    folder = files("synthdrive.reporting") / "templates"
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES}
    environment = Environment(
        loader=DictLoader(sources), autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"signed": signed, "drawing": _drawing, "cell_text": _cell_text, "counted": counted}
    environment.globals |= {"light": css_variables(LIGHT), "dark": css_variables(DARK)}
    return environment


def _drawing(panel: Panel, picture: Picture) -> Markup:
    return Markup(panel.inline(f"{picture.name}-{panel.name}"))


def _cell_text(text: str) -> str:
    """Text that can stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
