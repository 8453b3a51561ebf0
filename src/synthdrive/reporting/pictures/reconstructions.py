"""Masked scenes and how the network fills them in: each hidden lane beside its truth, hidden trajectories by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.drawing import MapDrawing, Points, View, map_drawing
from synthdrive.reporting.picture import VARIANTS, LegendEntry, Panel, Picture

HALF_WIDTH = 55.0  # m; the crop is 50 m to either side
WIDTH = 1.7  # inches; three of them stand beside each other on a phone
MOST_EPOCHS = 4  # with input and truth six panels a sample: two rows of three on a phone
MOST_LANES = 4  # hidden lanes of a sample that have a panel of their own


def reconstructions(kept: Reconstructions, variant: str, label: str, count: int, mask_ratio: float) -> list[Picture]:
    """At most `count` samples of each kind that the variant trains: hidden lanes, and hidden trajectories.

    Args:
        variant, label: the variant's name, and how it is shown, with the seed.
    """
    lanes = np.flatnonzero(kept.is_map)[:count].tolist()
    trajectories = np.flatnonzero(~kept.is_map)[:count].tolist()
    pictures = [_lanes_picture(kept, lanes, mask_ratio), _trajectory_picture(kept, trajectories)]
    return [
        Picture(
            name=f"{picture.name}-{variant.replace('_', '-')}",
            title=f"{picture.title}: {label}",
            caption=picture.caption,
            panels=picture.panels,
            legend=picture.legend,
            panel_width=160,
            columns=picture.columns,
            narrow_columns=min(3, -(-picture.columns // 2)),
        )
        for picture in pictures
        if picture.panels
    ]


def shown_epochs(last: int, most: int = MOST_EPOCHS) -> list[int]:
    """Epochs from 0, the start, to the last, spread evenly where there are more than `most`."""
    if last < most:
        return list(range(last + 1))
    return [round(epoch) for epoch in np.linspace(0, last, most).tolist()]


def _lanes_picture(kept: Reconstructions, samples: Sequence[int], mask_ratio: float) -> Picture:
    """A row a sample: what is given, all hidden lanes after training, and the first few one by one."""
    apart = min([MOST_LANES, *(len(_hidden(kept, sample)) for sample in samples)])
    panels = []
    for number, sample in enumerate(samples, start=1):
        view = View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH)
        stem, errors = f"lanes-{number}", lane_errors(kept, sample)
        given = _draw_lanes(kept, sample, [], view)
        panels.append(Panel(f"{stem}-input", f"Scene {number}: input", given))
        every = range(len(errors))
        title = f"{len(errors)} hidden lanes, mean error {errors.mean() if len(errors) else 0:.1f} m"
        panels.append(Panel(f"{stem}-all", title, _draw_lanes(kept, sample, every, view)))
        for lane in every[:apart]:
            truth, drawn = _hidden_lane(kept, sample, lane)
            near = View.around(np.concatenate([truth, drawn]), margin=6.0, smallest=15.0)
            svg = _draw_lanes(kept, sample, [lane], near, bar=True)
            panels.append(Panel(f"{stem}-lane-{lane + 1}", f"Lane {lane + 1}: error {errors[lane]:.1f} m", svg))
    return Picture(
        name="reconstruction-lanes",
        title="Hidden lanes",
        caption=f"Synthetic windows with {mask_ratio:.0%} of their lanes hidden. The network is given the first vector "
        "of each hidden lane (dot) and predicts the rest from the visible lanes and trajectory. Each hidden lane has "
        "its own colour: dashed for the truth, solid for the reconstruction after the last epoch. The panels on the "
        "right show single lanes.",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "visible lanes"),
            LegendEntry("observed", "visible trajectory"),
            LegendEntry("variant1", "hidden lane (dashed) and its reconstruction (solid)"),
        ),
        columns=2 + apart,
    )


def _trajectory_picture(kept: Reconstructions, samples: Sequence[int]) -> Picture:
    """A row a sample: masked input, some epochs, truth."""
    epochs = shown_epochs(kept.epochs)
    stages: list[int | str] = ["input", *epochs, "truth"]
    panels = []
    for number, sample in enumerate(samples, start=1):
        for stage in stages:
            name = stage if isinstance(stage, str) else f"epoch-{stage}"
            title = f"Drive {number}: {name.replace('-', ' ')}"
            panels.append(Panel(f"trajectory-{number}-{name}", title, _draw_trajectory(kept, sample, stage)))
    return Picture(
        name="reconstruction-trajectory",
        title="Hidden trajectories",
        caption=f"The whole trajectory is hidden except for its first vector (dot). Several modes are predicted from "
        f"the map, the best one drawn thicker: from before training (epoch 0) to its end (epoch {kept.epochs}). A "
        f"panel is {2 * HALF_WIDTH:.0f} m wide.",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "visible lanes"),
            LegendEntry("masked", "hidden trajectory: its first vector in the input, all of it in the truth"),
            LegendEntry("forecast", "reconstructed, best mode"),
            LegendEntry("heat1", "other modes"),
        ),
        columns=2 + len(epochs),
    )


def lane_errors(kept: Reconstructions, sample: int) -> npt.NDArray[np.float64]:
    """(H,) mean distance in metres of each hidden lane of a sample from the truth, after the last epoch."""
    pairs = [_hidden_lane(kept, sample, lane) for lane in range(len(_hidden(kept, sample)))]
    return np.array([np.linalg.norm(drawn - truth, axis=1).mean() for truth, drawn in pairs])


def _hidden(kept: Reconstructions, sample: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero((kept.lane_scene == sample) & kept.lane_hidden)


def _hidden_lane(kept: Reconstructions, sample: int, lane: int) -> tuple[Points, Points]:
    """(P, 2) true and reconstructed points, metres, of the sample's hidden lane with this number."""
    row = _hidden(kept, sample)[lane]
    place = int(kept.lane_hidden[:row].sum())
    valid = kept.lane_valid[row]
    return kept.lane_points[row, valid], kept.lane_predicted[-1, place, valid]


def _draw_lanes(kept: Reconstructions, sample: int, lanes: Sequence[int], view: View, bar: bool = False) -> str:
    """The given lanes and the drive; these hidden lanes, each in its colour; the first pieces of all, or of these."""
    given = np.flatnonzero((kept.lane_scene == sample) & ~kept.lane_hidden)
    points, valid = kept.lane_points, kept.lane_valid
    with map_drawing(view, width=WIDTH, bar=bar) as panel:
        panel.add_lanes([_with_start(points[row, valid[row]]) for row in given], width=0.7)
        panel.add_line(kept.agent_points[sample], "observed", width=1.4, zorder=2)
        for lane in lanes or range(len(_hidden(kept, sample))):
            role = VARIANTS[1 + lane % (len(VARIANTS) - 1)]
            truth, drawn = _hidden_lane(kept, sample, lane)
            panel.add_dots(truth[:1], role, size=6.0)
            if lanes:
                panel.add_line(truth, role, width=1.0, dashed=True)
                panel.add_line(drawn, role, width=1.4)
    return panel.svg


def _draw_trajectory(kept: Reconstructions, sample: int, stage: int | str) -> str:
    rows = np.flatnonzero(kept.lane_scene == sample)
    points, valid = kept.lane_points, kept.lane_valid
    truth = kept.agent_points[sample]
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH), width=WIDTH, bar=False) as panel:
        panel.add_lanes([_with_start(points[row, valid[row]]) for row in rows], width=0.7)
        if isinstance(stage, int):
            _add_modes(panel, kept, sample, stage)
        elif stage == "truth":
            panel.add_line(truth, "masked", width=1.4)
        else:
            panel.add_dots(truth[:1], "masked", size=6.0)
    return panel.svg


def _add_modes(panel: MapDrawing, kept: Reconstructions, sample: int, epoch: int) -> None:
    place = int((~kept.is_map[:sample]).sum())
    modes = kept.agent_predicted[epoch, place]  # [modes, 49, 2]
    panel.add_lines(list(modes), "heat1", width=1.0)
    panel.add_line(modes[kept.agent_best[epoch, place]], "forecast", width=2.0)


def _with_start(line: Points) -> Points:
    """The end points of a lane's vectors, and before them the start of the first, guessed from the second step."""
    return line if len(line) < 2 else np.concatenate([[2.0 * line[0] - line[1]], line])
