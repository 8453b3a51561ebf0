"""Masked scenes, how the network fills them in as pre-training goes on, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.map_drawing import MapDrawing, Points, View, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture

HALF_WIDTH = 55.0  # m; the crop is 50 m to either side
WIDTH = 1.7  # inches; three of them stand beside each other on a phone
MOST_EPOCHS = 4  # with input and truth six panels a sample: two rows of three on a phone
INPUT, TRUTH = "input", "truth"


@dataclass(frozen=True)
class _Panel:
    """One panel: how far it has come; `epoch` is set where the network is shown."""

    stage: str
    epoch: int | None = None


def reconstructions(kept: Reconstructions, variant: str, label: str, count: int, mask_ratio: float) -> Picture:
    """At most `count` samples of each kind that the variant trains: masked input, epochs, truth."""
    epochs = [_Panel(f"epoch-{epoch}", epoch) for epoch in shown_epochs(kept.epochs)]
    stages = [_Panel(INPUT), *epochs, _Panel(TRUTH)]
    panels = []
    for kind, chosen in (("map", np.flatnonzero(kept.is_map)), ("trajectory", np.flatnonzero(~kept.is_map))):
        draw = _draw_map if kind == "map" else _draw_trajectory
        for number, sample in enumerate(chosen[:count].tolist(), start=1):
            for stage in stages:
                title = f"{kind.capitalize()} {number}: {stage.stage.replace('-', ' ')}"
                panels.append(Panel(f"{kind}-{number}-{stage.stage}", title, draw(kept, sample, stage)))
    given = {
        "map": f"Map: {mask_ratio:.0%} of the lanes are hidden and drawn again from the rest and the drive. ",
        "trajectory": "Trajectory: the whole drive is hidden; six modes are drawn from the map, the best one strong. ",
    }
    parts = [text for kind, text in given.items() if (kept.is_map if kind == "map" else ~kept.is_map).any()]
    return Picture(
        name=f"reconstruction-{variant}",
        title=f"Masked pre-training: {label}",
        caption=f"The same synthetic windows before training (epoch 0) and up to its end (epoch {kept.epochs}), masked "
        f"and turned alike throughout. {''.join(parts)}Of every hidden line the network is told its first piece. "
        f"A panel is {2 * HALF_WIDTH:.0f} m wide.",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "lanes given"),
            LegendEntry("observed", "drive given"),
            LegendEntry("masked", "hidden: in the input its first piece, in the truth all"),
            LegendEntry("forecast", "reconstructed"),
        ),
        panel_width=160,
        columns=len(stages),
        narrow_columns=min(3, -(-len(stages) // 2)),
    )


def shown_epochs(last: int, most: int = MOST_EPOCHS) -> list[int]:
    """Epochs from 0, the start, to the last, spread evenly where there are more than `most`."""
    if last < most:
        return list(range(last + 1))
    return [round(epoch) for epoch in np.linspace(0, last, most).tolist()]


def _draw_map(kept: Reconstructions, sample: int, stage: _Panel) -> str:
    here, hidden = kept.lane_scene == sample, kept.lane_hidden
    truth, valid = kept.lane_points, kept.lane_valid
    rows = np.flatnonzero(here & hidden)
    lines = [_with_start(truth[row, valid[row]]) for row in rows]
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH), width=WIDTH, bar=False) as panel:
        panel.add_lanes([_with_start(truth[row, valid[row]]) for row in np.flatnonzero(here & ~hidden)], width=0.7)
        if stage.epoch is not None:
            predicted = kept.lane_predicted[stage.epoch, here[hidden]]  # [hidden lanes here, 9, 2]
            lines = [line[valid[row]] for line, row in zip(predicted, rows, strict=True)]
            panel.add_lines(lines, "forecast", width=1.0)
        else:
            _add_hidden(panel, lines, stage)
        panel.add_line(kept.agent_points[sample], "observed", width=1.8)
    return panel.svg


def _draw_trajectory(kept: Reconstructions, sample: int, stage: _Panel) -> str:
    rows = np.flatnonzero(kept.lane_scene == sample)
    points, valid = kept.lane_points, kept.lane_valid
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH), width=WIDTH, bar=False) as panel:
        panel.add_lanes([_with_start(points[row, valid[row]]) for row in rows], width=0.7)
        if stage.epoch is not None:
            place = int((~kept.is_map[:sample]).sum())
            modes = kept.agent_predicted[stage.epoch, place]  # [modes, 49, 2]
            panel.add_lines(list(modes), "heat1", width=1.0)
            panel.add_line(modes[kept.agent_best[stage.epoch, place]], "forecast", width=2.0)
        else:
            _add_hidden(panel, [kept.agent_points[sample]], stage)
    return panel.svg


def _add_hidden(panel: MapDrawing, lines: Sequence[Points], stage: _Panel) -> None:
    if stage.stage == TRUTH:
        panel.add_lines(lines, "masked", width=1.0)
        return
    starts: list[npt.NDArray[np.floating]] = [line[:1] for line in lines if len(line)]
    if starts:
        panel.add_dots(np.concatenate(starts), "masked", size=6.0)


def _with_start(line: Points) -> Points:
    """The end points of a lane's vectors, and before them the start of the first, guessed from the second step."""
    return line if len(line) < 2 else np.concatenate([[2.0 * line[0] - line[1]], line])
