"""Forecasts on validation scenes: the goal distribution, the six trajectories settled on, the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.reporting.map_drawing import View, map_drawing
from synthdrive.reporting.palette import HEAT
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.scene_layers import add_agent, add_others, add_scene_lanes, pick_scenes
from synthdrive.scenes.scene_store import LAST_OBSERVED, SceneStore

HEAT_EDGES = (0.001, 0.003, 0.01)  # probability of a goal of 1 m2; below the first is drawn only down to FAINTEST
FAINTEST = 0.0003
MISS = 2.0  # m, docs/method.md 6

Floats = npt.NDArray[np.floating[Any]]


def forecasts(
    network: DenseTNT | None,
    variant: str,
    store: SceneStore,
    trajectories: Floats,
    probabilities: Floats,
    count: int,
    seed: int,
) -> Picture:
    """`count` validation scenes.

    Args:
        network: gives the goal distribution; None leaves it out.
        variant: as shown.
        store: the S validation scenes, in the order of the forecasts.
        trajectories: (S, 6, 30, 2) metres, city axes, relative to each scene's origin.
        probabilities: (S, 6).
    """
    indices = pick_scenes(store, count, seed)
    heat = {} if network is None else _goal_heat(network, store, indices)
    panels = []
    for number, index in enumerate(indices, start=1):
        ends = np.linalg.norm(trajectories[index, :, -1] - store[index].agent[-1], axis=1)
        best = int(ends.argmin())
        svg = _draw(store, index, trajectories[index], best, heat.get(index, []))
        hit = "missed" if ends[best] > MISS else "hit"
        name = f"{store.cities[index]}, {store.scene_ids[index]}"
        title = f"{name}: {hit}, minFDE {ends[best]:.2f} m, p {probabilities[index, best]:.2f}"
        panels.append(Panel(f"forecast-{number}", title, svg))
    return Picture(
        name="forecasts",
        title=f"Forecasts on validation scenes: {variant}",
        caption="Random validation scenes in equal parts from left turns, straight drives and right turns. Shaded: how "
        "likely the network holds each place for the agent 3 s later; lines: the six trajectories chosen to cover it; "
        "the ring marks the best of the six. Look at whether the truth lies inside the shading and whether the "
        f"six keep apart. A scene is missed when no end point comes within {MISS:.0f} m.",
        panels=tuple(panels),
        legend=(
            LegendEntry("observed", "observed 2 s"),
            LegendEntry("truth", "true next 3 s"),
            LegendEntry("forecast", "six forecasts"),
            LegendEntry("best", "best end point", "ring"),
            LegendEntry("heat2", "goal probability", "band"),
            LegendEntry("others", "other traffic"),
        ),
    )


def _draw(store: SceneStore, index: int, modes: Floats, best: int, heat: list[tuple[str, Floats]]) -> str:
    scene = store[index]
    shown = np.concatenate([scene.agent, modes.reshape(-1, 2)]).astype(np.float64)
    with map_drawing(View.around(shown, margin=6.0, smallest=22.0)) as panel:
        add_scene_lanes(panel, store, scene)
        for role, points in heat:
            panel.add_many_dots(points, role, size=2.2, zorder=0.5, square=True)
        add_others(panel, scene)
        add_agent(panel, scene)
        start = scene.agent[LAST_OBSERVED : LAST_OBSERVED + 1]
        for mode in modes:
            panel.add_line(np.concatenate([start, mode]), "forecast", width=1.1, zorder=4)
        panel.add_dots(modes[:, -1], "forecast", size=9.0, zorder=5)
        panel.add_dots(modes[best, -1:], "best", size=30.0, hollow=True, zorder=8)
    return panel.svg


@torch.no_grad()
def _goal_heat(network: DenseTNT, store: SceneStore, indices: list[int]) -> dict[int, list[tuple[str, Floats]]]:
    """By scene: the goals in four classes of probability, metres, city axes relative to the scene's origin."""
    distribution = network.goal_distribution(collate(store, indices))
    goals = distribution.frame.to_city(distribution.goals).numpy()
    probability = distribution.log_prob.exp().numpy()
    valid = distribution.valid.numpy()
    heat = {}
    for row, index in enumerate(indices):
        shown = valid[row] & (probability[row] >= FAINTEST)
        classes = np.digitize(probability[row], HEAT_EDGES)
        heat[index] = [(role, goals[row][shown & (classes == number)]) for number, role in enumerate(HEAT)]
    return heat
