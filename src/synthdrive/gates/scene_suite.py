"""What is expected of recorded scenes."""

from __future__ import annotations

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from synthdrive.config.checks import SceneChecks
from synthdrive.gates.plain import at_least, at_most, is_true, one_of, within
from synthdrive.scenes.scene_store import STEPS

KEYS = ("scene_id",)
TURNS = ["left", "right", "straight"]


def store_expectations() -> list[Expectation]:
    """Expectations that every scene store meets, recorded or synthetic: a table as of `tables.scene_table`."""
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, description="there are scenes"),
        gxe.ExpectColumnValuesToBeUnique(column="scene_id", description="a scene's id stands once"),
        is_true("complete", "every value is there and finite"),
        within("n_agents", 1, 1, "a scene has exactly one AGENT"),
        within("agent_rows", STEPS, STEPS, "AGENT comes first and is there at all {low:g} steps"),
        within("n_avs", 0, 1, "a scene has at most one AV"),
        is_true("steps_rise", "the steps of every track rise, within the scene's 50"),
        at_least("n_lanes", 1, "there is at least {low:g} lane around the agent"),
    ]


def scene_expectations(limits: SceneChecks, cities: list[str], held_out: bool) -> list[Expectation]:
    """Expectations of recorded scenes.

    Args:
        limits: section `check_raw.scenes`.
        cities: those that there is a map of.
        held_out: whether no scene may be a train scene, as a column `not_in_train` says.
    """
    low, high = limits.mean_interval
    expectations = [
        *store_expectations(),
        one_of("city", cities, f"the city is one that there is a map of: {', '.join(cities)}"),
        one_of("turn", TURNS, f"the turn is one of {', '.join(TURNS)}"),
        within(
            "mean_interval", low, high, "steps are {low:g} to {high:g} s apart on average, in {share:.0%} of scenes",
            limits.mean_interval_share,
        ),
        at_least("min_interval", limits.min_interval, "steps are at least {low:g} s apart"),
        at_most("max_interval", limits.max_interval, "steps are at most {high:g} s apart"),
        at_most("agent_mean_speed", limits.max_mean_speed, "AGENT's mean speed is at most {high:g} m/s"),
        at_most("agent_max_speed", limits.max_speed, "AGENT's speed over half a second is at most {high:g} m/s"),
        at_most("track_max_step", limits.max_step, "AGENT moves at most {high:g} m in one step"),
        at_most(
            "agent_lane_distance", limits.max_lane_distance,
            "AGENT is on average at most {high:g} m from a centreline, in {share:.0%} of scenes",
            limits.lane_distance_share,
        ),
        at_most("farthest", limits.max_extent, "every track is within {high:g} m of AGENT"),
    ]  # fmt: skip
    if held_out:
        expectations.append(is_true("not_in_train", "no val scene is a train scene as well"))
    return expectations
