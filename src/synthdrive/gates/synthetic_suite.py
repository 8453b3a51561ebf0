"""What is expected of synthetic windows: plausible driving, in all of them."""

from __future__ import annotations

from great_expectations.expectations.expectation import Expectation

from synthdrive.config.checks import CheckSyntheticParameters
from synthdrive.gates.plain import at_least, at_most, is_true, one_of, within
from synthdrive.gates.scene_suite import store_expectations

KEYS = ("scene_id",)


def synthetic_expectations(limits: CheckSyntheticParameters) -> list[Expectation]:
    """Expectations of a table as of `tables.scene_table`, of the synthetic store.

    Args:
        limits: section `check_synthetic`.
    """
    acceleration = limits.max_acceleration
    return [
        *store_expectations(),
        one_of("source", ["original", "augmented"], "the map is the original or an augmented one"),
        at_least("min_speed", 0.0, "the car never drives backwards"),
        at_most("max_speed", limits.max_speed, "speed is at most {high:g} m/s"),
        within("min_acceleration", -acceleration, acceleration, "the car brakes with at most {high:g} m/s2"),
        within("max_acceleration", -acceleration, acceleration, "the car accelerates with at most {high:g} m/s2"),
        within(
            "max_lateral_acceleration", 0.0, limits.max_lateral_acceleration,
            "lateral acceleration is at most {high:g} m/s2",
        ),
        within("max_jerk", 0.0, limits.max_jerk, "jerk is at most {high:g} m/s3"),
        within("max_curvature", 0.0, limits.max_curvature, "curvature is at most {high:g} 1/m"),
        within("max_heading_step", 0.0, limits.max_heading_step, "heading changes by at most {high:g} rad in one step"),
        within("max_step", 0.0, limits.max_step, "the car moves at most {high:g} m in one step"),
        is_true("step_as_stated", "the stored track moves in one step as far as the manifest says"),
        within("max_lane_distance", 0.0, limits.max_lane_distance, "the car is at most {high:g} m from a centreline"),
    ]  # fmt: skip
