"""Actors and lanes as polylines of vectors (docs/method.md 1.3, 1.4), from raw points, on the batch's device.

A vector is a row of `hidden_size` numbers of which only a few columns are ever used: the first 10 for actors, 12 near
the end for lanes. Only these are held; `ACTOR_COLUMNS` and `LANE_COLUMNS` say which columns they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthdrive.scenes.scene_store import AGENT, AV, LAST_OBSERVED, OBSERVED_STEPS, OTHERS, STEPS
from synthdrive.vectors.agent_frame import AgentFrame
from synthdrive.vectors.batch import Batch
from synthdrive.vectors.ragged import Ragged

# previous x, y | x, y | time | is AV, is AGENT, is OTHERS | polyline index | row index
ACTOR_COLUMNS = tuple(range(10))
# y, x of the point before the previous | intersection | turn | traffic control | polyline index | point index | 1 |
# y, x | previous y, x; counted from the end of the row
LANE_COLUMNS = (-18, -17, *range(-10, 0))
ACTOR_INDEX, LANE_INDEX = 8, 5  # places of the polyline index among the columns
ACTOR_XY = (2, 3)  # places of the current x, y among the actor columns
LANE_XY = (9, 8)  # and among the lane columns

METRES = (0, 1, 2, 3, -18, -17, -4, -3, -2, -1)  # columns of the full row that hold coordinates


@dataclass(frozen=True)
class Polylines:
    """N polylines of one kind.

    Attributes:
        vectors: (N, V, 10) for actors or (N, V, 12) for lanes, in the order of the columns' names above; zero padded.
        valid: (N, V) bool.
        items: which scene each polyline belongs to.
    """

    vectors: Tensor
    valid: Tensor
    items: Ragged

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, keep: Tensor) -> Polylines:
        """The polylines where `keep` (N,) is True."""
        return Polylines(self.vectors[keep], self.valid[keep], self.items.select(keep))


def actor_polylines(batch: Batch, frame: AgentFrame, observed_only: bool, with_index: bool = True) -> Polylines:
    """Every track with two rows or more as a polyline, AGENT's the first of its scene.

    Args:
        batch: raw points.
        frame: the frame to see them in.
        observed_only: leave out the rows after the last observed step, as fine-tuning must.
        with_index: fill in the polyline index; else its column is 0.

    Returns:
        Polylines of up to 19 or 49 vectors; the first vector of a polyline ends at the track's second row.
    """
    steps = OBSERVED_STEPS if observed_only else STEPS
    valid = batch.track_valid[:, :steps]
    if observed_only:
        valid = valid & (batch.track_step[:, :steps] <= LAST_OBSERVED)
    keep = valid[:, 1]
    items = batch.tracks.select(keep)
    valid = valid[keep]
    points = frame[items.scene].to_agent(batch.track_xy[keep, :steps])  # [N, steps, 2]
    time = batch.times[items.scene[:, None], batch.track_step[keep, 1:steps]]
    kind = batch.track_type[keep]
    row = torch.arange(1, steps, device=kind.device)
    per_track = [(kind == wanted) for wanted in (AV, AGENT, OTHERS)] + [items.position * with_index]
    columns = [points[:, :-1], points[:, 1:], time[..., None]]
    columns += [value.to(points.dtype)[:, None, None].expand(-1, steps - 1, 1) for value in per_track]
    columns += [row.to(points.dtype)[None, :, None].expand(len(points), -1, 1)]
    valid = valid[:, 1:]
    return Polylines(torch.cat(columns, dim=-1) * valid[..., None], valid, items)


def lane_polylines(batch: Batch, frame: AgentFrame, actor_counts: Tensor, with_index: bool = True) -> Polylines:
    """Every lane of the crop as a polyline of up to 9 vectors.

    Args:
        batch: raw points.
        frame: the frame to see them in.
        actor_counts: (B,) actor polylines of each scene, which come first in the polyline index.
        with_index: fill in the polyline index; else its column is 0.
    """
    items = batch.lanes
    points = frame[items.scene].to_agent(batch.lane_xy)  # [M, 10, 2]
    before = torch.cat([2.0 * points[:, :1] - points[:, 1:2], points[:, :-2]], dim=1)  # [M, 9, 2]
    index = (actor_counts[items.scene] + items.position) * with_index
    signed = [2 * flag.to(index.dtype) - 1 for flag in (batch.lane_is_intersection, batch.lane_has_traffic_control)]
    shape = (-1, points.shape[1] - 1, 1)
    lane = [
        value.to(points.dtype)[:, None, None].expand(shape) for value in (signed[0], batch.lane_turn, signed[1], index)
    ]
    number = torch.arange(1, points.shape[1], device=index.device).to(points.dtype)
    point = number[None, :, None].expand(len(points), -1, 1)
    current, previous = points[:, 1:].flip(-1), points[:, :-1].flip(-1)
    columns = [before.flip(-1), *lane, point, torch.ones_like(point), current, previous]
    valid = batch.lane_valid[:, 1:]
    return Polylines(torch.cat(columns, dim=-1) * valid[..., None], valid, items)
