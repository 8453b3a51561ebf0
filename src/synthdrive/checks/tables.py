"""The tables that data validation checks: manifests, with columns computed from the stored arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from synthdrive.core.artifacts import read_table
from synthdrive.core.errors import InputError
from synthdrive.scenes.scene_store import AGENT, AGENT_TYPE, AV, SceneStore, follows_lanes

SCENES_AT_A_TIME = 4096


def lane_table(path: Path) -> pd.DataFrame:
    """Read the manifest of the lane maps; add n_links (successors and predecessors) and complete (`mark_complete`).

    Raises:
        InputError: the file is missing or damaged, or lacks a column.
    """
    table = read_table(path).to_pandas()
    require(table, ["city", "lane_id", "n_successors", "n_predecessors"], path)
    table["n_links"] = table["n_successors"] + table["n_predecessors"]
    return mark_complete(table)


def scene_table(path: Path) -> pd.DataFrame:
    """Read the manifest of a scene store and add columns computed from its arrays.

    New columns: n_agents, n_avs, agent_rows; steps_rise (whether they do in every track); mean_interval (s); farthest
    (m, the largest coordinate relative to the origin, infinite if one is not finite); track_max_step (m, AGENT's
    largest move in one step, 0 if AGENT does not have all steps); complete (see `mark_complete`; scenes without lanes
    need no lane distance). A scene without tracks has 0 in the numeric columns. The lane distance is set to missing for
    agents that do not keep to lanes for vehicles, such as pedestrians.

    Raises:
        InputError: the store is missing or damaged.
    """
    store = SceneStore.load(path)
    table = store.manifest.to_pandas()
    parts = [
        _block(store, start, min(start + SCENES_AT_A_TIME, len(store)))
        for start in range(0, len(store), SCENES_AT_A_TIME)
    ]
    for name in parts[0] if parts else ():
        table[name] = np.concatenate([part[name] for part in parts])
    required = table
    if {"agent_lane_distance", "n_lanes"} <= set(table.columns):
        required = table.assign(agent_lane_distance=table["agent_lane_distance"].where(table["n_lanes"] > 0, 0.0))
    complete = mark_complete(required)["complete"]
    if AGENT_TYPE in table.columns and "agent_lane_distance" in table.columns:
        table["agent_lane_distance"] = table["agent_lane_distance"].where(follows_lanes(store.manifest))
    return table.assign(complete=complete)


def moment(scenes: pd.DataFrame) -> pd.Series[str]:
    """Return city, time and place of each scene as a string, which differs between different scenes."""
    place = scenes["origin_x"].round(3).astype(str) + "," + scenes["origin_y"].round(3).astype(str)
    return scenes["city"].astype(str) + "@" + scenes["start_time"].round(3).astype(str) + "@" + place


def mark_complete(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column `complete`: whether no value of the row is missing, NaN or infinite."""
    numbers = table.select_dtypes("number")
    finite = np.isfinite(numbers.to_numpy(dtype=np.float64, na_value=np.nan)).all(axis=1)
    return table.assign(complete=finite & table.notna().to_numpy().all(axis=1))


def require(table: pd.DataFrame, columns: list[str], where: object) -> None:
    """Raise InputError, naming `where`, if a column is missing."""
    for column in columns:
        if column not in table.columns:
            raise InputError(where, f"columns {', '.join(map(str, table.columns))}", f"a column {column!r}")


def _block(store: SceneStore, start: int, stop: int) -> dict[str, npt.NDArray[np.generic]]:
    """Compute the new columns, (stop - start,) each, for the scenes from `start` to `stop`."""
    arrays = store.gather(np.arange(start, stop))
    tracks, lengths, types = arrays["tracks_per_scene"], arrays["track_lengths"], arrays["track_types"]
    scene_of_track = np.repeat(np.arange(stop - start), tracks)
    rows_per_scene = np.bincount(scene_of_track, weights=lengths, minlength=stop - start).astype(np.int64)
    first_row = np.cumsum(rows_per_scene) - rows_per_scene
    first_track = np.cumsum(tracks) - tracks
    agent_rows = np.zeros(stop - start, dtype=np.int64)
    some = np.flatnonzero(tracks)
    agent_first = some[types[first_track[some]] == AGENT]
    agent_rows[agent_first] = lengths[first_track[agent_first]]
    whole = np.flatnonzero(agent_rows == store.steps)
    agents = arrays["xy"][first_row[whole, None] + np.arange(store.steps)]  # [W, T, 2]
    max_step, farthest = np.zeros(stop - start), np.zeros(stop - start)
    max_step[whole] = np.linalg.norm(np.diff(agents.astype(np.float64), axis=1), axis=-1).max(axis=1, initial=0.0)
    extent = np.abs(arrays["xy"]).max(axis=1)
    filled = np.flatnonzero(rows_per_scene)
    if filled.size:
        extent = np.where(np.isfinite(extent), extent, np.inf)
        farthest[filled] = np.maximum.reduceat(extent, first_row[filled])
    count = np.bincount
    return {
        "n_agents": count(scene_of_track[types == AGENT], minlength=stop - start),
        "n_avs": count(scene_of_track[types == AV], minlength=stop - start),
        "agent_rows": agent_rows,
        "steps_rise": _steps_rise(arrays["step"], lengths, scene_of_track, stop - start, store.steps),
        "mean_interval": (arrays["times"][:, -1] - arrays["times"][:, 0]).astype(np.float64) / (store.steps - 1),
        "farthest": farthest,
        "track_max_step": max_step,
    }


def _steps_rise(
    step: npt.NDArray[np.uint8],
    lengths: npt.NDArray[np.int64],
    scene_of_track: npt.NDArray[np.int64],
    scenes: int,
    steps: int,
) -> npt.NDArray[np.bool_]:
    track = np.repeat(np.arange(len(lengths)), lengths)
    stuck = np.flatnonzero((np.diff(step.astype(np.int64)) <= 0) & (np.diff(track) == 0))
    rise = np.ones(scenes, dtype=np.bool_)
    rise[scene_of_track[track[stuck]]] = False
    rise[scene_of_track[track[step >= steps]]] = False
    return rise
