"""The report's colours by role, for light and for dark; a picture names a role, the page decides on the shade."""

from __future__ import annotations

import re

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
VARIANTS = tuple(f"variant{i}" for i in range(6))  # training variants in the order of the run

_ROLES = {shade: role for role, shade in LIGHT.items()}
_COLOUR = re.compile(r"(fill|stroke|stop-color)(: ?|=\")(#[0-9a-f]{6})")


def colour(role: str) -> str:
    """The light shade of a role, which stands for the role in a picture file."""
    return LIGHT[role]


def variant_colour(position: int) -> str:
    """Colour of the variant at this position in the run's order; the colours repeat after six."""
    return LIGHT[VARIANTS[position % len(VARIANTS)]]


def with_variables(svg: str) -> str:
    """The same SVG with every colour of the palette as a CSS variable (`var(--ink)`), for a page to set."""

    def variable(match: re.Match[str]) -> str:
        role = _ROLES.get(match.group(3))
        return match.group(0) if role is None else f"{match.group(1)}{match.group(2)}var(--{role})"

    return _COLOUR.sub(variable, svg)


def css_variables(shades: dict[str, str]) -> str:
    """CSS declarations of one theme."""
    return "".join(f"--{role}:{shade};" for role, shade in shades.items())
