"""Pictures of scenes: recorded scenes with their traffic, and forecasts on validation scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import savgol_filter

from synthdrive.core.seeding import item_seed
from synthdrive.core.timing import Timing
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.reporting.drawing import MapDrawing, View, centrelines, map_drawing, map_sheet
from synthdrive.reporting.picture import HEAT, LegendEntry, Panel, Picture
from synthdrive.scenes.scene_store import AGENT, Scene, SceneStore

TURNS = ("left", "straight", "right")
HEAT_EDGES = (0.001, 0.003, 0.01)  # probability of a goal, a cell of 1 m2
FAINTEST = 0.0003  # goals with a smaller probability are not drawn
SMOOTHED = 11  # steps; drawn forecasts are smoothed because the network predicts every point independently

Floats = npt.NDArray[np.floating[Any]]


def add_scene_lanes(panel: MapDrawing, store: SceneStore, scene: Scene) -> None:
    """Draw the centrelines of the scene's map crop, relative to its origin."""
    panel.add_lanes([line - scene.origin for line in centrelines(store.lanes, scene.lane_rows)])


def add_others(panel: MapDrawing, scene: Scene, timing: Timing) -> None:
    """Draw all other tracks up to the last observed step, with a dot at the last position."""
    tracks, heads = [], []
    for k in range(len(scene.track_types)):
        if scene.track_types[k] == AGENT:
            continue
        steps = scene.step[scene.track_offsets[k] : scene.track_offsets[k + 1]]
        seen = scene.track(k)[steps <= timing.last_observed]
        if len(seen):
            tracks.append(seen)
            heads.append(seen[-1])
    panel.add_lines(tracks, "others", width=1.0, zorder=2)
    if heads:
        panel.add_dots(np.array(heads), "others", size=7.0, zorder=3)


def add_agent(panel: MapDrawing, scene: Scene, timing: Timing) -> None:
    """Draw the focal agent: its history, its last observed position and its future."""
    now = timing.last_observed
    panel.add_line(scene.agent[now:], "truth", width=2.2, zorder=5)
    panel.add_dots(scene.agent[-1:], "truth", size=16.0, zorder=6)
    panel.add_line(scene.agent[: now + 1], "observed", width=2.2, zorder=6)
    panel.add_dots(scene.agent[now : now + 1], "observed", size=16.0, zorder=7)


def scene_view(scene: Scene, half_width: float) -> View:
    """Return the square in which a scene is shown; it contains the focal agent's whole track."""
    return View.around(scene.agent.astype(np.float64), margin=8.0, smallest=half_width)


def pick_scenes(store: SceneStore, count: int, seed: int, among: Sequence[int] | None = None) -> list[int]:
    """Choose at most `count` scenes, in turn from left turns, straight drives and right turns.

    Args:
        among: rows of the candidates, in order of preference; by default all, in an order that depends only on their
            names and the seed.
    """
    order = list(range(len(store)) if among is None else among)
    if among is None:
        order.sort(key=lambda index: item_seed(seed, "picture", store.scene_ids[index]))
    if "turn" not in store.manifest.column_names:
        return order[:count]
    turns = store.manifest["turn"].to_pylist()
    queues = [[index for index in order if turns[index] == turn] for turn in TURNS]
    rounds = [index for depth in range(len(order)) for queue in queues for index in queue[depth : depth + 1]]
    return rounds[:count]


def recorded_scenes(store: SceneStore, split: str, count: int, seed: int) -> Picture:
    """Draw `count` random scenes of a split."""
    panels = []
    for number, index in enumerate(pick_scenes(store, count, seed), start=1):
        scene = store[index]
        with map_drawing(scene_view(scene, 45.0)) as panel:
            add_scene_lanes(panel, store, scene)
            add_others(panel, scene, store.timing)
            add_agent(panel, scene, store.timing)
        title = f"{scene.city}, scene {scene.scene_id}: {len(scene.track_types)} tracks, {len(scene.lane_rows)} lanes"
        panels.append(Panel(f"scene-{number}", title, panel.svg))
    return Picture(
        name="recorded-scenes",
        title="Recorded scenes",
        caption=f"Scenes of the {split} split, drawn at random in equal parts from left turns, straight drives and "
        "right turns. The focal agent should keep to a lane, and the map crop should cover the road that it takes.",
        panels=tuple(panels),
        legend=(
            LegendEntry("observed", f"focal agent, observed {store.timing.history_seconds:g} s"),
            LegendEntry("truth", f"focal agent, next {store.timing.future_seconds:g} s"),
            LegendEntry("others", "other traffic, observed"),
            LegendEntry("lane", "lane centrelines"),
        ),
    )


def forecasts(
    network: DenseTNT | None,
    variant: str,
    store: SceneStore,
    made: Forecasts,
    count: int,
    seed: int,
    miss_threshold: float | None,
) -> Picture:
    """Draw `count` validation scenes: those whose forecasts fan out most and, as the last one, a missed scene.

    Args:
        network: for the goal distribution; None leaves it out.
        variant: label of the variant.
        store: the S validation scenes, in the order of the forecasts.
        miss_threshold: minFDE6 in metres above which a scene is missed; None if the evaluation did not record it, in
            which case hits and misses are not distinguished.
    """
    errors = _end_errors(store, made)
    shown = shown_forecasts(store, made, count, seed, miss_threshold)
    heat = {} if network is None else _goal_heat(network, store, shown)
    panels = []
    for number, index in enumerate(shown, start=1):
        best = int(errors[index].argmin())
        with map_drawing(_forecast_view(store, made, index)) as panel:
            _add_forecast(panel, store, made, index, heat.get(index, []))
        missed = "" if miss_threshold is None else "missed, " if errors[index, best] > miss_threshold else "hit, "
        title = f"{store.cities[index]}, {store.scene_ids[index]}: {missed}minFDE {errors[index, best]:.2f} m"
        panels.append(Panel(f"forecast-{number}", f"{title}, p {made.probabilities[index, best]:.2f}", panel.svg))
    fanned = "scenes whose six forecasts end furthest apart across the direction of travel"
    if miss_threshold is None:
        choice = f"the {fanned}"
    else:
        rate = float((errors.min(axis=1) > miss_threshold).mean())
        choice = (
            f"{fanned}, without misses, and last a random miss (in {rate:.0%} of {len(store):,} scenes none of the six "
            f"end points is within {miss_threshold:g} m of the truth)"
        )
    return Picture(
        name="forecasts",
        title=f"Forecasts on validation scenes: {variant}",
        caption=f"Not a random choice: {choice}. Shaded: the predicted probability of the agent's position after "
        f"{store.timing.future_seconds:g} s. Lines are smoothed over {SMOOTHED / 10:.1f} s for drawing; end points are "
        "not.",
        panels=tuple(panels),
        legend=(
            LegendEntry("observed", f"observed {store.timing.history_seconds:g} s"),
            LegendEntry("truth", f"true next {store.timing.future_seconds:g} s"),
            LegendEntry("forecast", "six forecasts"),
            LegendEntry("best", "best end point", "ring"),
            LegendEntry("heat2", "goal probability", "band"),
            LegendEntry("others", "other traffic"),
        ),
    )


def forecast_sheet(
    path: Path,
    network: DenseTNT,
    store: SceneStore,
    made: Forecasts,
    count: int,
    seed: int,
    miss_threshold: float | None,
) -> None:
    """Draw the same scenes in rows of three as one PNG, for the README."""
    shown = shown_forecasts(store, made, count, seed, miss_threshold)
    heat = _goal_heat(network, store, shown)
    with map_sheet(path, [_forecast_view(store, made, index) for index in shown], columns=3) as panels:
        for panel, index in zip(panels, shown, strict=True):
            _add_forecast(panel, store, made, index, heat[index])


def shown_forecasts(
    store: SceneStore, made: Forecasts, count: int, seed: int, miss_threshold: float | None
) -> list[int]:
    """Choose hit scenes, in turn from each kind of turn, by how far their forecasts fan out, and last a random miss.

    Without a threshold, no scene counts as missed.
    """
    threshold = np.inf if miss_threshold is None else miss_threshold
    missed_scenes = _end_errors(store, made).min(axis=1) > threshold
    order = pick_scenes(store, len(store), seed)
    missed = [index for index in order if missed_scenes[index]]
    hit = [index for index in order if not missed_scenes[index]]
    now = store.timing.last_observed
    hit.sort(key=lambda index: -_fan(store[index].agent[now], made.trajectories[index]))
    last = missed[: 1 if count > 1 or not hit else 0]
    chosen = pick_scenes(store, count - len(last), seed, among=hit)
    return [*chosen, *last, *missed[1 : 1 + count - len(chosen) - len(last)]]


def _fan(position: Floats, modes: Floats) -> float:
    """Return the standard deviation in metres of the end points of (6, T, 2) forecasts across their mean direction."""
    ends = modes[:, -1] - position
    along = ends.mean(axis=0)
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
    return float(np.std(ends @ across))


def _end_errors(store: SceneStore, made: Forecasts) -> Floats:
    """Return the (S, 6) endpoint errors of the forecasts in metres."""
    truth = np.stack([store[index].agent[-1] for index in range(len(store))])
    errors: Floats = np.linalg.norm(made.trajectories[:, :, -1] - truth[:, None], axis=-1)
    return errors


def _forecast_view(store: SceneStore, made: Forecasts, index: int) -> View:
    shown = np.concatenate([store[index].agent, made.trajectories[index].reshape(-1, 2)]).astype(np.float64)
    return View.around(shown, margin=6.0, smallest=22.0)


def _add_forecast(
    panel: MapDrawing, store: SceneStore, made: Forecasts, index: int, heat: list[tuple[str, Floats]]
) -> None:
    scene, modes = store[index], made.trajectories[index]
    best = int(np.linalg.norm(modes[:, -1] - scene.agent[-1], axis=1).argmin())
    add_scene_lanes(panel, store, scene)
    for role, points in heat:
        panel.add_many_dots(points, role, size=2.2, zorder=0.5, square=True)
    add_others(panel, scene, store.timing)
    add_agent(panel, scene, store.timing)
    for mode in modes:
        panel.add_line(_smooth(scene.agent[: store.timing.history_steps], mode), "forecast", width=1.2, zorder=4)
    panel.add_dots(modes[:, -1], "forecast", size=9.0, zorder=5)
    panel.add_dots(modes[best, -1:], "best", size=30.0, hollow=True, zorder=8)


def _smooth(observed: Floats, mode: Floats) -> Floats:
    """Smooth a forecast with the observed track; return it from the last observed position on, with unmoved ends."""
    line: Floats = savgol_filter(np.concatenate([observed, mode]), SMOOTHED, 2, axis=0)[len(observed) - 1 :]
    line[0], line[-1] = observed[-1], mode[-1]
    return line


@torch.no_grad()
def _goal_heat(network: DenseTNT, store: SceneStore, indices: list[int]) -> dict[int, list[tuple[str, Floats]]]:
    """Return, by scene, the goals in four classes of probability, in metres, city axes relative to the origin."""
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
