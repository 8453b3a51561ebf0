"""Tests of the report in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, find_chromium

from synthdrive.reporting.content import Content

WIDTHS = {"desktop": 1280, "phone": 390}

VISIBLE_DRAWINGS = """
[...document.querySelectorAll('svg[role=img]')].filter(s => {
  const box = s.getBoundingClientRect();
  return box.width > 100 && box.height > 30 && s.querySelectorAll('path').length > 0;
}).length
"""
SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('main p, main td, main th, main li, figcaption')]
  .filter(e => e.innerText && e.getBoundingClientRect().height > 0)
  .map(e => parseFloat(getComputedStyle(e).fontSize)))
"""
CLIPPED = """
[...document.querySelectorAll('main p, main h1, main h2, main h3, main pre, main figure, header, header p, .panel')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))
"""
TABLES_WIDER_THAN_THE_PAGE = """
[...document.querySelectorAll('#results-table, #claims-table')]
  .filter(t => t.parentElement.scrollWidth > t.parentElement.clientWidth + 1).map(t => t.id)
"""
COLOURS = "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with Browser(executable) as opened:
        yield opened


@pytest.mark.parametrize("width", WIDTHS.values(), ids=list(WIDTHS))
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_opens_from_disk_completely_and_without_errors(
    browser: Browser, report: tuple[Path, Content], width: int, dark: bool
) -> None:
    page = report[0] / "index.html"
    browser.events.clear()
    browser.open(page, width, dark=dark, phone=width < 500)
    assert browser.errors() == []
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.evaluate("document.querySelectorAll('#results-table tbody tr').length") == len(report[1].rows)
    assert browser.evaluate("document.querySelectorAll('#claims-table tbody tr:not(.heading)').length") == len(
        report[1].judged
    )
    panels = sum(len(picture.panels) for picture in report[1].pictures.all())
    assert browser.evaluate(VISIBLE_DRAWINGS) == panels
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CLIPPED) == []
    assert browser.evaluate(TABLES_WIDER_THAN_THE_PAGE) == []
    assert browser.evaluate(SMALLEST_TEXT) >= 12


def test_dark_and_light_colours_differ(browser: Browser, report: tuple[Path, Content]) -> None:
    seen = []
    for dark in (False, True):
        browser.open(report[0] / "index.html", WIDTHS["desktop"], dark=dark)
        seen.append(browser.evaluate(COLOURS))
    assert seen[0] != seen[1]


def test_console_errors_and_requests_are_detected(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text('<img src="absent.png"><script>console.error("broken")</script>')
    browser.events.clear()
    browser.open(tmp_path / "bad.html", WIDTHS["desktop"])
    assert browser.errors()
    assert len(browser.requests()) == 2
