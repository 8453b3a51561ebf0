"""What a gate, a stratified metric or a query wants to know of a recorded scene: columns of the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.scenes.scene_store import LAST_OBSERVED, STEPS

HEADING_STEPS = 5  # half a second; docs/method.md 1.2 takes the observed heading over the last 6 points
HEADING_TRAVEL = 1.0  # metres; over less, tracking noise makes the heading
SPEED_STEPS = 5  # half a second; over one step, tracking noise makes the speed


def agent_statistics(
    agents: npt.NDArray[np.floating[Any]], times: npt.NDArray[np.float64], turn_angle: float
) -> dict[str, npt.NDArray[Any]]:
    """Columns about AGENT's motion, for B scenes.

    Args:
        agents: (B, 50, 2) metres, city axes.
        times: (B, 50) seconds, rising.
        turn_angle: radians of heading change from which a scene counts as a turn.

    Returns:
        (B,) each: agent_mean_speed (m/s, path over time), agent_max_speed (m/s, largest mean over half a second),
        agent_displacement (m, straight from step 0 to 49), agent_heading_change (radians, left positive, observed to
        final heading), turn (left, right, straight), min_interval, max_interval (s), max_step (m).
    """
    path = agents.astype(np.float64)
    steps = np.linalg.norm(np.diff(path, axis=1), axis=-1)  # [B, 49]
    travelled = np.concatenate([np.zeros((len(path), 1)), np.cumsum(steps, axis=1)], axis=1)
    intervals = np.diff(times, axis=1)
    over = times[:, SPEED_STEPS:] - times[:, :-SPEED_STEPS]
    change = heading_change(path)
    turn = np.where(change >= turn_angle, "left", np.where(change <= -turn_angle, "right", "straight"))
    return {
        "agent_mean_speed": travelled[:, -1] / (times[:, -1] - times[:, 0]),
        "agent_max_speed": ((travelled[:, SPEED_STEPS:] - travelled[:, :-SPEED_STEPS]) / over).max(axis=1),
        "agent_displacement": np.linalg.norm(path[:, -1] - path[:, 0], axis=-1),
        "agent_heading_change": change,
        "turn": turn,
        "min_interval": intervals.min(axis=1),
        "max_interval": intervals.max(axis=1),
        "max_step": steps.max(axis=1),
    }


def heading_change(agents: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(B,) radians in (-pi, pi], left positive, from the heading at the last observed step to that at the last step.

    A heading is that of the chord to the point at least half a second and 1 m back. An agent that has not moved as
    far by the last observed step has the heading in which it sets off; one that never does has changed none.

    Args:
        agents: (B, 50, 2) metres, city axes.
    """
    observed, known = _heading_back(agents, LAST_OBSERVED)
    ahead, moves = _heading_ahead(agents, LAST_OBSERVED)
    final, arrived = _heading_back(agents, STEPS - 1)
    start = np.where(known, observed, ahead)
    change = np.angle(np.exp(1j * (final - start)))
    return np.where((known | moves) & arrived, change, 0.0)


def _heading_back(agents: npt.NDArray[np.float64], step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(B,) heading at a step from the nearest earlier point that is far enough away, and whether there is one."""
    chords = agents[:, step, None] - agents[:, : step - HEADING_STEPS + 1][:, ::-1]
    return _first_long_chord(chords)


def _heading_ahead(agents: npt.NDArray[np.float64], step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(B,) heading from a step to the nearest later point that is far enough away, and whether there is one."""
    return _first_long_chord(agents[:, step + HEADING_STEPS :] - agents[:, step, None])


def _first_long_chord(
    chords: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    enough = np.linalg.norm(chords, axis=-1) >= HEADING_TRAVEL
    chord = chords[np.arange(len(chords)), enough.argmax(axis=1)]
    return np.arctan2(chord[:, 1], chord[:, 0]), enough.any(axis=1)
