"""The authors' released windows beside our driver's on the same route, from the same state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthdrive.reporting.figures import drawing, quiet_grid, svg_of
from synthdrive.reporting.map_drawing import View, centrelines, map_drawing
from synthdrive.reporting.palette import colour
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import STEP_SECONDS
from synthdrive.synthesis.released import DrivenAgain


def released_errors(driven: Sequence[DrivenAgain]) -> dict[str, float] | None:
    """How far our drives are from the released ones, in metres and m/s over all windows; None without any.

    Names: windows, speed_error_median and speed_error_mean (RMS of a window), lateral_error_mean, and
    lane_distance_median, of the released positions from our warped centrelines.
    """
    if not driven:
        return None
    speed = np.array([one.speed_error for one in driven])
    return {
        "windows": len(driven),
        "speed_error_median": float(np.median(speed)),
        "speed_error_mean": float(speed.mean()),
        "lateral_error_mean": float(np.mean([one.lateral_error.mean() for one in driven])),
        "lane_distance_median": float(np.median([one.lane_distance.mean() for one in driven])),
    }


def released_drives(driven: Sequence[DrivenAgain], maps: Mapping[str, LaneMap], count: int) -> Picture | None:
    """All windows' errors, then path and speed of `count` windows from the best to the worst; None without any."""
    errors = released_errors(driven)
    if errors is None:
        return None
    panels = []
    order = sorted(driven, key=lambda one: one.speed_error)
    for number, place in enumerate(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int), start=1):
        one = order[place]
        warped = "warped map" if one.released.transform else "original map"
        name = f"{one.released.city}, {warped}, desired speed {one.released.desired_speed:g} m/s"
        lateral = f"lateral error {one.lateral_error.mean():.2f} m"
        panels.append(Panel(f"path-{number}", f"{name}: {lateral}", _path(one, maps[one.released.city])))
        panels.append(Panel(f"speed-{number}", f"{name}: speed error {one.speed_error:.2f} m/s", _speed(one)))
    panels.append(Panel("errors", f"Errors of all {len(driven)} windows", _errors(driven)))
    return Picture(
        name="released-drives",
        title="Our driver beside the released drives",
        caption=f"{len(driven)} windows of the authors' release, and our driver on the same route at the same desired "
        f"speed from the same state. Speed error (RMS) {errors['speed_error_median']:.2f} m/s median, "
        f"{errors['speed_error_mean']:.2f} mean; lateral path error {errors['lateral_error_mean']:.2f} m mean; the "
        f"released positions lie {errors['lane_distance_median']:.2f} m (median) from our warped centrelines. The "
        "windows shown go from the best to the worst speed error.",
        panels=tuple(panels),
        legend=(
            LegendEntry("truth", "released"),
            LegendEntry("synthetic", "ours"),
            LegendEntry("lane", "centrelines, warped as released"),
        ),
        panel_width=240,
    )


def _errors(driven: Sequence[DrivenAgain]) -> str:
    with drawing(2.6, 2.6) as (figure, axes):
        lateral = [one.lateral_error.mean() for one in driven]
        axes.scatter(lateral, [one.speed_error for one in driven], s=14, c=colour("synthetic"), edgecolors="none")
        axes.set_xlim(left=0.0)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("mean lateral path error (m)")
        axes.set_ylabel("speed error, RMS (m/s)")
        quiet_grid(axes)
        return svg_of(figure)


def _path(one: DrivenAgain, lane_map: LaneMap) -> str:
    view = View.around(one.released.xy, margin=10.0, smallest=25.0)
    transform = one.released.transform
    segments = lane_map.segments
    if transform is not None:
        segments = segments.with_points(transform.warp(segments.points))
    boxes = segments.bounding_boxes()
    low = np.array(view.centre) - view.half_width
    high = np.array(view.centre) + view.half_width
    rows = np.flatnonzero((boxes[:, :2] <= high).all(axis=1) & (boxes[:, 2:] >= low).all(axis=1))
    with map_drawing(view) as panel:
        panel.add_lanes(centrelines(segments, rows))
        panel.add_line(one.released.xy, "truth", width=3.4)
        panel.add_line(one.xy, "synthetic", width=1.4)
        panel.add_dots(one.released.xy[:1], "ink", size=10.0)
    return panel.svg


def _speed(one: DrivenAgain) -> str:
    with drawing(2.6, 2.6) as (figure, axes):
        seconds = STEP_SECONDS * (np.arange(len(one.speed)) + 0.5)
        axes.plot(seconds, one.released.speed, color=colour("truth"), linewidth=2.4)
        axes.plot(seconds, one.speed, color=colour("synthetic"), linewidth=1.4)
        axes.set_ylim(0.0, 1.1 * max(one.speed.max(), one.released.speed.max()))
        axes.set_xlabel("time (s)")
        axes.set_ylabel("speed (m/s)")
        quiet_grid(axes)
        return svg_of(figure)
