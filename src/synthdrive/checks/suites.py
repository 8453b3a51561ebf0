"""Great Expectations suites for lane maps, recorded scenes and synthetic windows.

There are two kinds of expectation. What readers and writers guarantee (exactly one AGENT, unique ids) must hold in
every row: an exception means a damaged file. Limits of what is plausible (gaps between sweeps, speeds) may be missed by
a fraction of the rows, which `run` lists by name: one odd scene in two hundred thousand is no reason to stop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from synthdrive.core.errors import from_extra

with from_extra("pipeline"):
    import great_expectations.expectations as gxe
    from great_expectations.expectations.expectation import Expectation

from synthdrive.config.data import CheckSyntheticParameters, MapChecks, SceneChecks
from synthdrive.scenes.lane_map import MAX_POINTS

LANE_KEYS = ("city", "lane_id")
SCENE_KEYS = ("scene_id",)
TURNS = ["left", "right", "straight"]
FEWEST_FOR_ONE = 4  # rows from which one outlier is permitted: there it is less than 30 % of the table


def permitted_outliers(rows: int, fraction: float) -> int:
    """Return how many of `rows` rows may miss a limit: a fraction of them, rounded down, but at least one.

    It is 0 if `fraction` is 0, and may be 0 in tables with fewer than FEWEST_FOR_ONE rows.
    """
    at_least = 1 if fraction > 0 and rows >= FEWEST_FOR_ONE else 0
    return max(math.floor(fraction * rows + 1e-9), at_least)


@dataclass(frozen=True)
class _Rows:
    """Builds expectations of a table's columns that must hold in all rows except a fraction.

    Great Expectations ignores missing values, including NaN; the column `complete` marks rows without any.
    """

    table: pd.DataFrame
    fraction: float = 0.0

    def between(self, column: str, low: float | None, high: float | None, words: str) -> Expectation:
        """Expect values from `low` to `high`; None for no limit."""
        mostly, text = self._permitted(column, words.format(low=low, high=high))
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=mostly, description=text
        )

    def at_most(self, column: str, high: float, words: str) -> Expectation:
        return self.between(column, None, high, words)

    def at_least(self, column: str, low: float, words: str) -> Expectation:
        return self.between(column, low, None, words)

    def is_true(self, column: str, words: str) -> Expectation:
        mostly, text = self._permitted(column, words)
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[True], mostly=mostly, description=text)

    def one_of(self, column: str, values: list[str], words: str) -> Expectation:
        mostly, text = self._permitted(column, words)
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values, mostly=mostly, description=text)

    def _permitted(self, column: str, words: str) -> tuple[float, str]:
        """Return the fraction of values that must be as expected, and `words` with the number of permitted outliers."""
        rows = int(self.table[column].count()) if column in self.table else len(self.table)
        permitted = permitted_outliers(rows, self.fraction)
        if not permitted:
            return 1.0, words
        return (rows - permitted) / rows, f"{words} (outliers permitted: {permitted} of {rows})"


def map_expectations(table: pd.DataFrame, limits: MapChecks) -> list[Expectation]:
    """Return the expectations of a table made by `tables.lane_table`."""
    every, most = _Rows(table), _Rows(table, limits.outlier_fraction)
    neighbours, connected = 1 - limits.neighbours_link_back_fraction, 1 - limits.connected_fraction
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, description="there are lanes"),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=list(LANE_KEYS), description="a lane's id stands once in its city"
        ),
        every.is_true("complete", "every value is there and finite"),
        every.between("n_points", 2, MAX_POINTS, "a centreline has 2 to {high:g} points"),
        every.is_true("finite", "centrelines are finite"),
        most.at_least("min_spacing", limits.min_point_spacing, "points of a centreline are at least {low:g} m apart"),
        most.at_most("max_spacing", limits.max_point_spacing, "points of a centreline are at most {high:g} m apart"),
        most.at_most("length", limits.max_lane_length, "a lane is at most {high:g} m long"),
        every.between("turn", -1, 1, "a lane turns left (-1), right (1) or not (0)"),
        most.is_true("successors_link_back", "a lane's successor has it as predecessor, and the other way round"),
        _Rows(table, neighbours).is_true("neighbours_link_back", "a lane's neighbour has it as neighbour"),
        most.at_most(
            "successor_gap", limits.max_successor_gap, "a successor starts at most {high:g} m from the lane's end"
        ),
        most.at_most("n_successors", limits.max_links, "a lane has at most {high:g} successors"),
        most.at_most("n_predecessors", limits.max_links, "a lane has at most {high:g} predecessors"),
        _Rows(table, connected).at_least("n_links", 1, "a lane has a successor or predecessor"),
    ]


def _store_expectations(table: pd.DataFrame, steps: int) -> list[Expectation]:
    """Return the expectations that the writer of a scene store guarantees, for recorded and synthetic scenes."""
    every = _Rows(table)
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, description="there are scenes"),
        gxe.ExpectColumnValuesToBeUnique(column="scene_id", description="a scene's id stands once"),
        every.is_true("complete", "every value is there and finite"),
        every.between("n_agents", 1, 1, "a scene has exactly one AGENT"),
        every.between("agent_rows", steps, steps, "AGENT comes first and is there at all {low:g} steps"),
        every.between("n_avs", 0, 1, "a scene has at most one AV"),
        every.is_true("steps_rise", f"the steps of every track rise, within the scene's {steps}"),
    ]


def scene_expectations(
    table: pd.DataFrame, limits: SceneChecks, steps: int, cities: list[str] | None, held_out: bool
) -> list[Expectation]:
    """Return the expectations of recorded scenes.

    Args:
        table: a table made by `tables.scene_table`, with a column `stands_once`.
        limits: section `check_raw.scenes`.
        steps: number of steps of every scene.
        cities: the cities that have a map; None if each scene has its own map.
        held_out: whether no scene may be a train scene, which a column `not_in_train` says.
    """
    every, most = _Rows(table), _Rows(table, limits.outlier_fraction)
    shortest, longest = limits.mean_interval
    of_map = "that there is a map of:"
    expectations = [
        *_store_expectations(table, steps),
        *([] if cities is None else [every.one_of("city", cities, f"the city is one {of_map} {', '.join(cities)}")]),
        every.one_of("turn", TURNS, f"the turn is one of {', '.join(TURNS)}"),
        most.is_true("stands_once", "no scene of the same city, time and place stands before it"),
        _Rows(table, 1 - limits.lanes_fraction).at_least(
            "n_lanes", 1, "there is at least {low:g} lane around the agent"
        ),
        _Rows(table, 1 - limits.mean_interval_fraction).between(
            "mean_interval", shortest, longest, "steps are {low:g} to {high:g} s apart on average"
        ),
        most.at_least("min_interval", limits.min_interval, "steps are at least {low:g} s apart"),
        most.at_most("max_interval", limits.max_interval, "steps are at most {high:g} s apart"),
        most.at_most("agent_mean_speed", limits.max_mean_speed, "AGENT's mean speed is at most {high:g} m/s"),
        most.at_most("agent_max_speed", limits.max_speed, "AGENT's speed over half a second is at most {high:g} m/s"),
        most.at_most("track_max_step", limits.max_step, "AGENT moves at most {high:g} m in one step"),
        _Rows(table, 1 - limits.lane_distance_fraction).at_most(
            "agent_lane_distance", limits.max_lane_distance, "AGENT is on average at most {high:g} m from a centreline"
        ),
        most.at_most("farthest", limits.max_extent, "every track is within {high:g} m of AGENT"),
    ]
    if held_out:
        expectations.append(every.is_true("not_in_train", "no val scene is a train scene as well"))
    return expectations


def synthetic_expectations(table: pd.DataFrame, limits: CheckSyntheticParameters, steps: int) -> list[Expectation]:
    """Return the expectations of synthetic windows: plausible driving.

    Args:
        table: a table made by `tables.scene_table`.
        limits: section `check_synthetic`.
        steps: number of steps of every window.
    """
    every, most = _Rows(table), _Rows(table, limits.outlier_fraction)
    acceleration = limits.max_acceleration
    return [
        *_store_expectations(table, steps),
        every.one_of("source", ["original", "augmented"], "the map is the original or an augmented one"),
        every.is_true("step_as_stated", "the stored track moves in one step as far as the manifest says"),
        most.at_least("n_lanes", 1, "there is at least {low:g} lane around the agent"),
        most.at_least("min_speed", 0.0, "the car never drives backwards"),
        most.at_most("max_speed", limits.max_speed, "speed is at most {high:g} m/s"),
        most.between("min_acceleration", -acceleration, acceleration, "the car brakes with at most {high:g} m/s2"),
        most.between("max_acceleration", -acceleration, acceleration, "the car accelerates with at most {high:g} m/s2"),
        most.between(
            "max_lateral_acceleration",
            0.0,
            limits.max_lateral_acceleration,
            "lateral acceleration is at most {high:g} m/s2",
        ),
        most.between("max_jerk", 0.0, limits.max_jerk, "jerk is at most {high:g} m/s3"),
        most.between("max_curvature", 0.0, limits.max_curvature, "curvature is at most {high:g} 1/m"),
        most.between(
            "max_heading_step", 0.0, limits.max_heading_step, "heading changes by at most {high:g} rad in one step"
        ),
        most.between("max_step", 0.0, limits.max_step, "the car moves at most {high:g} m in one step"),
        most.between(
            "max_lane_distance", 0.0, limits.max_lane_distance, "the car is at most {high:g} m from a centreline"
        ),
    ]
