"""The agent frame, and tracks and lanes as polylines of vectors in it (docs/method.md 1.2 to 1.4).

Both are computed from a batch's raw points, on its device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

import torch
from torch import Tensor

from synthdrive.core.timing import Timing
from synthdrive.models.batch import Batch
from synthdrive.models.ragged import Ragged
from synthdrive.models.tensor_group import TensorGroup
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

HEADING_STEPS = 6  # the heading is the mean of p[j + 2] - p[j] over the last 6 observed points (docs/method.md 1.2)


@dataclass(frozen=True)
class AgentFrame(TensorGroup):
    """Agent frames of B scenes: x' = dx cos - dy sin, y' = dx sin + dy cos, with (dx, dy) = (x, y) - origin.

    Attributes:
        origin: (B, 2) metres, city axes, relative to each scene's origin.
        cos, sin: (B,) cosine and sine of the angle by which points are turned counterclockwise.
    """

    origin: Tensor
    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, agent: Tensor, timing: Timing, angle: Tensor | None = None) -> Self:
        """Return the frames of focal agents: their last observed position at the origin, their heading along +y.

        Args:
            agent: (B, T, 2) tracks of the focal agents, metres, city axes.
            timing: timing of the scenes.
            angle: (B,) radians by which to turn the scenes further, counterclockwise.
        """
        last = agent[:, timing.history_steps - HEADING_STEPS : timing.history_steps]  # [B, 6, 2]
        heading = (last[:, 2:] - last[:, :-2]).mean(dim=1)  # [B, 2]
        length = torch.linalg.vector_norm(heading, dim=1)
        moving = length > 0
        scale = torch.where(moving, length, 1.0)
        # cos(pi/2 - atan2(y, x)) = y / r and sin(...) = x / r. A standing agent heads to +x, since atan2(0, 0) = 0.
        cos, sin = heading[:, 1] / scale, torch.where(moving, heading[:, 0] / scale, 1.0)
        if angle is not None:
            turn_cos, turn_sin = torch.cos(angle).to(cos.dtype), torch.sin(angle).to(cos.dtype)
            cos, sin = cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin
        return cls(agent[:, timing.last_observed], cos, sin)

    def __getitem__(self, scene: Tensor) -> AgentFrame:
        """Return the frames of the given scenes (N,), which may repeat."""
        return AgentFrame(self.origin[scene], self.cos[scene], self.sin[scene])

    def to_agent(self, points: Tensor) -> Tensor:
        """Transform points (B, ..., 2) in metres from city axes, relative to the scene's origin, to the agent frame."""
        origin, cos, sin = self._broadcast(points)
        dx, dy = (points - origin).unbind(-1)
        return torch.stack([dx * cos - dy * sin, dx * sin + dy * cos], dim=-1)

    def to_city(self, points: Tensor) -> Tensor:
        """Transform points (B, ..., 2) in metres from the agent frame to city axes, relative to the scene's origin."""
        origin, cos, sin = self._broadcast(points)
        x, y = points.unbind(-1)
        return torch.stack([x * cos + y * sin, y * cos - x * sin], dim=-1) + origin

    def _broadcast(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (len(points), *[1] * (points.ndim - 2))
        return self.origin.reshape(*shape, 2), self.cos.reshape(shape), self.sin.reshape(shape)


# Columns of an actor vector in the full row of features (docs/method.md 1.3):
# previous x, y | x, y | time | is AV, is AGENT, is OTHERS | polyline index | row index
ACTOR_COLUMNS = tuple(range(10))
# Columns of a lane vector in the full row, counted from its end (docs/method.md 1.4):
# y, x of the point before the previous | intersection | turn | traffic control | polyline index | point index | 1 |
# y, x | previous y, x
LANE_COLUMNS = (-18, -17, *range(-10, 0))
ACTOR_INDEX, LANE_INDEX = 8, 5  # positions of the polyline index in ACTOR_COLUMNS and LANE_COLUMNS
ACTOR_XY, LANE_XY = (2, 3), (9, 8)  # positions of the current x, y
ACTOR_PREVIOUS, LANE_PREVIOUS = (0, 1), (11, 10)  # positions of the previous x, y


@cache
def cached_tensor(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return an int64 tensor of the numbers, copied to the device only once."""
    return torch.tensor(numbers).to(device)


METRES = (0, 1, 2, 3, -18, -17, -4, -3, -2, -1)  # columns of the full row that hold coordinates


@dataclass(frozen=True)
class Polylines(TensorGroup):
    """N polylines of one kind.

    Attributes:
        vectors: (N, V, 10) actor vectors or (N, V, 12) lane vectors, with the columns listed at `ACTOR_COLUMNS` and
            `LANE_COLUMNS`; zero padded.
        valid: (N, V) bool, False at padding.
        items: the scene of each polyline.
    """

    vectors: Tensor
    valid: Tensor
    items: Ragged

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Tensor) -> Polylines:
        """Return the polylines at `rows` (M,), given in ascending order."""
        return Polylines(self.vectors[rows], self.valid[rows], self.items.take(rows))


def actor_polylines(batch: Batch, frame: AgentFrame, observed_only: bool, with_index: bool = True) -> Polylines:
    """Return every track with at least two rows as a polyline, the focal agent's first in its scene.

    Args:
        batch: the scenes.
        frame: the agent frame of each scene.
        observed_only: leave out the rows after the last observed step, as fine-tuning must.
        with_index: fill in the polyline index; otherwise its column is 0.

    Returns:
        Polylines of up to T - 1 vectors, where T is the number of observed steps or of all steps. The first vector
        leads from the track's first row to its second.
    """
    timing = batch.timing
    steps = timing.history_steps if observed_only else timing.steps
    valid = batch.track_valid[:, :steps]
    if observed_only:
        valid = valid & (batch.track_step[:, :steps] <= timing.last_observed)
    rows = torch.nonzero(valid[:, 1]).squeeze(1)
    items = batch.tracks.take(rows)
    valid = valid[rows]
    points = frame[items.scene].to_agent(batch.track_xy[rows, :steps])  # [N, steps, 2]
    time = batch.times[items.scene[:, None], batch.track_step[rows, 1:steps]]
    kind = batch.track_type[rows]
    row = torch.arange(1, steps, device=kind.device)
    per_track = [(kind == wanted) for wanted in (AV, AGENT, OTHERS)] + [items.position * with_index]
    columns = [points[:, :-1], points[:, 1:], time[..., None]]
    columns += [value.to(points.dtype)[:, None, None].expand(-1, steps - 1, 1) for value in per_track]
    columns += [row.to(points.dtype)[None, :, None].expand(len(points), -1, 1)]
    valid = valid[:, 1:]
    return Polylines(torch.cat(columns, dim=-1) * valid[..., None], valid, items)


def lane_polylines(batch: Batch, frame: AgentFrame, actor_counts: Tensor, with_index: bool = True) -> Polylines:
    """Return every lane of the map crop as a polyline of up to 9 vectors.

    Args:
        batch: the scenes.
        frame: the agent frame of each scene.
        actor_counts: (B,) number of actor polylines in each scene; lanes are numbered after them.
        with_index: fill in the polyline index; otherwise its column is 0.
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
