"""Masked scenes, what the pre-trained network makes of them, and the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.models.masked_autoencoder import MaskedAutoencoder, Reconstruction
from synthdrive.reporting.map_drawing import MapDrawing, Points, View, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.scene_layers import pick_scenes
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.vectors.batch import collate

HALF_WIDTH = 55.0  # m; the crop is 50 m to either side
WIDTH = 1.7  # inches; three of them stand beside each other on a phone
STAGES = ("input", "reconstruction", "truth")
CANDIDATES = 24  # windows among which map and trajectory samples are sought


def reconstructions(
    network: MaskedAutoencoder, arm: str, label: str, store: SceneStore, count: int, seed: int, epochs: int
) -> Picture | None:
    """`count` scenes of each kind of masking that the arm trains: masked input, reconstruction, truth; None without."""
    indices = pick_scenes(store, min(CANDIDATES, len(store)), seed)
    result = network.reconstruct(collate(store, indices))
    is_map = result.is_map.numpy()
    panels = []
    for kind, chosen in (("map", np.flatnonzero(is_map)), ("trajectory", np.flatnonzero(~is_map))):
        for number, sample in enumerate(chosen[:count].tolist(), start=1):
            for stage in STAGES:
                draw = _draw_map if kind == "map" else _draw_trajectory
                title = f"{kind.capitalize()} {number}: {stage}"
                panels.append(Panel(f"{kind}-{number}-{stage}", title, draw(result, sample, stage)))
    if not panels:
        return None
    ratio = network.objective.mask_ratio
    return Picture(
        name=f"reconstruction-{arm}",
        title=f"Masked pre-training: {label}",
        caption=f"Random synthetic windows after {epochs} epochs. Map: {ratio:.0%} of the lanes are hidden and drawn "
        "again from the rest and the drive. Trajectory: the whole drive is hidden; six modes are drawn from the map, "
        "the best one strong. Of every hidden line the network is told its first piece. Compare the middle with the "
        "right.",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "lanes given"),
            LegendEntry("observed", "drive given"),
            LegendEntry("masked", "hidden: given first piece, in the truth all"),
            LegendEntry("forecast", "reconstructed"),
        ),
        panel_width=160,
        columns=len(STAGES),
    )


def _draw_map(result: Reconstruction, sample: int, stage: str) -> str:
    here = (result.lane_scene == sample).numpy()
    hidden = result.lane_hidden.numpy()
    truth, valid = result.lane_points.numpy(), result.lane_valid.numpy()
    predicted = result.lane_predicted.numpy()
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH), width=WIDTH) as panel:
        panel.add_lanes([_with_start(truth[row, valid[row]]) for row in np.flatnonzero(here & ~hidden)], width=0.7)
        rows = np.flatnonzero(here & hidden)
        lines = [predicted[row, valid[row]] for row in rows]
        if stage != "reconstruction":
            lines = [_with_start(truth[row, valid[row]]) for row in rows]
        _hidden(panel, lines, stage)
        panel.add_line(result.agent_points[sample].numpy(), "observed", width=1.8)
    return panel.svg


def _draw_trajectory(result: Reconstruction, sample: int, stage: str) -> str:
    rows = np.flatnonzero((result.lane_scene == sample).numpy())
    points, valid = result.lane_points.numpy(), result.lane_valid.numpy()
    truth = result.agent_points[sample].numpy()
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH), width=WIDTH) as panel:
        panel.add_lanes([_with_start(points[row, valid[row]]) for row in rows], width=0.7)
        if stage == "reconstruction":
            modes = result.agent_predicted[sample].numpy()
            panel.add_lines(list(modes), "heat1", width=1.0)
            panel.add_line(modes[int(result.agent_best[sample])], "forecast", width=2.0)
        else:
            _hidden(panel, [truth], stage)
    return panel.svg


def _hidden(panel: MapDrawing, lines: list[Points], stage: str) -> None:
    if stage == "reconstruction":
        panel.add_lines(lines, "forecast", width=1.0)
    elif stage == "truth":
        panel.add_lines(lines, "masked", width=1.0)
    else:
        starts: list[npt.NDArray[np.floating]] = [line[:1] for line in lines if len(line)]
        if starts:
            panel.add_dots(np.concatenate(starts), "masked", size=3.0)


def _with_start(line: Points) -> Points:
    """The end points of a lane's vectors, and before them the start of the first, guessed from the second step."""
    return line if len(line) < 2 else np.concatenate([[2.0 * line[0] - line[1]], line])
