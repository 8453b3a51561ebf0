"""Pictures of masked scenes and their reconstructions: hidden lanes beside the truth, hidden trajectories by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.drawing import MapDrawing, Points, View, map_drawing
from synthdrive.reporting.picture import VARIANTS, LegendEntry, Panel, Picture

HALF_WIDTH = 55.0  # m; the crop is 50 m to either side
WIDTH = 1.7  # inches; three panels fit side by side on a phone
MOST_EPOCHS = 4  # six panels per sample with input and truth: two rows of three on a phone
MOST_LANES = 4  # hidden lanes of a sample with a panel of their own


def reconstructions(kept: Reconstructions, variant: str, label: str, count: int, mask_ratio: float) -> list[Picture]:
    """Draw at most `count` samples of each kind that the variant trains on: hidden lanes and hidden trajectories.

    Args:
        variant: the variant's name; label: how it is shown, with its seed.
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


def shown_epochs(last: int) -> list[int]:
    """Return the epochs from 0 (before training) to the last; at most MOST_EPOCHS of them, spread evenly."""
    if last < MOST_EPOCHS:
        return list(range(last + 1))
    return [round(epoch) for epoch in np.linspace(0, last, MOST_EPOCHS).tolist()]


def _lanes_picture(kept: Reconstructions, samples: Sequence[int], mask_ratio: float) -> Picture:
    """Draw a row per sample: the input, all hidden lanes after training, and the first few hidden lanes singly."""
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
    """Draw a row per sample: masked input, some epochs, truth."""
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
        caption=f"The whole trajectory is hidden except for its first vector (dot). The network predicts several modes "
        f"from the map; the best one is drawn thicker. The panels lead from before training (epoch 0) to its end "
        f"(epoch {kept.epochs}), and are {2 * HALF_WIDTH:.0f} m wide.",
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
    """Return the (H,) mean distances in metres of a sample's hidden lanes from the truth, after the last epoch."""
    pairs = [_hidden_lane(kept, sample, lane) for lane in range(len(_hidden(kept, sample)))]
    return np.array([np.linalg.norm(drawn - truth, axis=1).mean() for truth, drawn in pairs])


def _hidden(kept: Reconstructions, sample: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero((kept.lane_scene == sample) & kept.lane_hidden)


def _hidden_lane(kept: Reconstructions, sample: int, lane: int) -> tuple[Points, Points]:
    """Return the true and the reconstructed points, (P, 2) metres each, of one of the sample's hidden lanes."""
    row = _hidden(kept, sample)[lane]
    place = int(kept.lane_hidden[:row].sum())
    valid = kept.lane_valid[row]
    return kept.lane_points[row, valid], kept.lane_predicted[-1, place, valid]


def _draw_lanes(kept: Reconstructions, sample: int, lanes: Sequence[int], view: View, bar: bool = False) -> str:
    """Draw the visible lanes and the trajectory, and these hidden lanes; without any, the first vectors of all."""
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
    """Prepend the start of a lane's first vector to the ends of its vectors; it is extrapolated from the second."""
    return line if len(line) < 2 else np.concatenate([[2.0 * line[0] - line[1]], line])
