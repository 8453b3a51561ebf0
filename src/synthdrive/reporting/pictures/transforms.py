"""Each map transform on the same piece of a map, before and after."""

from __future__ import annotations

import numpy as np

from synthdrive.augmentation.corridor import resample
from synthdrive.augmentation.transforms import KINDS, TransformShape, make_transform
from synthdrive.reporting.map_drawing import View, centrelines, map_drawing
from synthdrive.reporting.palette import colour
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.scenes.lane_map import LaneMap

NAMES = {"smooth": "Smooth turn", "double": "Double turn", "ripple": "Ripple", "combination": "Combination"}
SPACING = 1.0  # m between the points of a centreline before it is warped, so that bends are drawn smooth
HALF_WIDTH = 75.0  # m, half the side of the crop
BEND = 25.0  # m left of the middle, where the transforms set in
ENOUGH = 100.0  # m of lanes along X before the bend, and twice as much behind it, make the crop busy enough
CANDIDATES = 400  # lanes looked at when the crop is chosen


def transform_pictures(lane_map: LaneMap, shape: TransformShape, amplitude: float) -> Picture:
    """The four transforms with one amplitude on the densest crop of a map; `amplitude` as in the released data."""
    centre = _busy_place(lane_map)
    rows = lane_map.lanes_near(centre[0], centre[1], HALF_WIDTH + 10.0)
    lines = [resample(line, SPACING) for line in centrelines(lane_map.segments, rows)]
    anchor = centre[0] - shape.border - BEND
    panels = []
    for kind in KINDS:
        transform = make_transform(kind, amplitude, anchor, shape)
        with map_drawing(View(centre, HALF_WIDTH, HALF_WIDTH)) as panel:
            panel.add_lanes(lines, "original", width=0.9)
            panel.add_lines([transform.warp(line) for line in lines], "warped", width=1.1)
            panel.axes.axvline(
                anchor + shape.border, color=colour("muted"), linewidth=0.7, linestyle=(0, (2, 3)), zorder=0
            )
        panels.append(Panel(kind, f"{NAMES[kind]}, amplitude {amplitude:g}", panel.svg))
    return Picture(
        name="map-transforms",
        title="Map transforms",
        caption=f"The same {2 * HALF_WIDTH:.0f} m of {lane_map.city} before and after each transform. City Y moves by "
        "a function of city X that sets in at the dotted line; behind it a smooth turn keeps its new direction, a "
        "double turn runs parallel again. Roads across the displacement are sheared, not bent.",
        panels=tuple(panels),
        panel_width=240,
        legend=(LegendEntry("original", "original centrelines"), LegendEntry("warped", "warped centrelines")),
    )


def _busy_place(lane_map: LaneMap) -> tuple[float, float]:
    """Middle of a lane with streets along X and across it around it, and little else: a plain junction, if there is."""
    segments = lane_map.segments
    middles = np.array([line[len(line) // 2] for line in centrelines(segments)])
    steps = np.abs(np.diff(segments.points, axis=1) * segments.valid[:, 1:, None]).sum(axis=1)  # [L, 2]
    along = np.where(steps[:, 1] < steps[:, 0] / 3, steps[:, 0], 0.0)
    across = np.where(steps[:, 0] < steps[:, 1] / 3, steps[:, 1], 0.0)
    chosen = np.linspace(0, len(segments) - 1, min(CANDIDATES, len(segments))).astype(int)

    def score(row: int) -> tuple[float, float]:
        offset = middles - middles[row]
        near = (np.abs(offset) < HALF_WIDTH).all(axis=1)
        straight = near & (np.abs(offset[:, 1]) < HALF_WIDTH / 2)
        before, behind = straight & (offset[:, 0] < -BEND), straight & (offset[:, 0] >= -BEND)
        lengths = along[before].sum(), along[behind].sum() / 2, across[near].sum() / 2
        return float(min(*lengths, ENOUGH)), -float(steps[near].sum())

    best = max(chosen.tolist(), key=score)
    return float(middles[best, 0]), float(middles[best, 1])
