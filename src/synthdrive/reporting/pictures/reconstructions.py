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
        panel_width=230,
    )


def _draw_map(result: Reconstruction, sample: int, stage: str) -> str:
    here = (result.lane_scene == sample).numpy()
    hidden = result.lane_hidden.numpy()
    truth, valid = result.lane_points.numpy(), result.lane_valid.numpy()
    predicted = result.lane_predicted.numpy()
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH)) as panel:
        panel.add_lanes([truth[row, valid[row]] for row in np.flatnonzero(here & ~hidden)])
        rows = np.flatnonzero(here & hidden)
        lines = [(predicted if stage == "reconstruction" else truth)[row, valid[row]] for row in rows]
        _hidden(panel, lines, stage)
        panel.add_line(result.agent_points[sample].numpy(), "observed", width=1.8)
    return panel.svg


def _draw_trajectory(result: Reconstruction, sample: int, stage: str) -> str:
    rows = np.flatnonzero((result.lane_scene == sample).numpy())
    points, valid = result.lane_points.numpy(), result.lane_valid.numpy()
    truth = result.agent_points[sample].numpy()
    with map_drawing(View((0.0, 0.0), HALF_WIDTH, HALF_WIDTH)) as panel:
        panel.add_lanes([points[row, valid[row]] for row in rows])
        if stage == "reconstruction":
            modes = result.agent_predicted[sample].numpy()
            panel.add_lines(list(modes), "heat1", width=1.0)
            panel.add_line(modes[int(result.agent_best[sample])], "forecast", width=2.0)
        else:
            _hidden(panel, [truth], stage)
    return panel.svg


def _hidden(panel: MapDrawing, lines: list[Points], stage: str) -> None:
    if stage == "reconstruction":
        panel.add_lines(lines, "forecast", width=1.3)
    elif stage == "truth":
        panel.add_lines(lines, "masked", width=1.3)
    else:
        starts: list[npt.NDArray[np.floating]] = [line[:1] for line in lines if len(line)]
        if starts:
            panel.add_dots(np.concatenate(starts), "masked", size=6.0)
