"""What is expected of lane maps."""

from __future__ import annotations

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from synthdrive.config.checks import MapChecks
from synthdrive.gates.plain import at_least, at_most, is_true, within
from synthdrive.scenes.lane_segments import MAX_POINTS

KEYS = ("city", "lane_id")


def map_expectations(limits: MapChecks) -> list[Expectation]:
    """Expectations of a table with the columns of `maps.map_manifest`."""
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, description="there are lanes"),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=list(KEYS), description="a lane's id stands once in its city"),
        is_true("complete", "every value is there and finite"),
        within("n_points", 2, MAX_POINTS, "a centreline has 2 to {high:g} points"),
        is_true("finite", "centrelines are finite"),
        at_least("min_spacing", limits.min_point_spacing, "points of a centreline are at least {low:g} m apart"),
        at_most("max_spacing", limits.max_point_spacing, "points of a centreline are at most {high:g} m apart"),
        at_most("length", limits.max_lane_length, "a lane is at most {high:g} m long"),
        within("turn", -1, 1, "a lane turns left (-1), right (1) or not (0)"),
        is_true("successors_link_back", "a lane's successor has it as predecessor, and the other way round"),
        is_true(
            "neighbours_link_back", "a lane's neighbour has it as neighbour, in {share:.0%} of lanes",
            limits.neighbours_link_back_share,
        ),
        at_most("successor_gap", limits.max_successor_gap, "a successor starts at most {high:g} m from the lane's end"),
        at_most("n_successors", limits.max_links, "a lane has at most {high:g} successors"),
        at_most("n_predecessors", limits.max_links, "a lane has at most {high:g} predecessors"),
        at_least(
            "n_links", 1, "a lane has a successor or predecessor, in {share:.0%} of lanes", limits.connected_share
        ),
    ]  # fmt: skip
