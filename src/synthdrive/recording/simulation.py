"""Run SUMO, read the motion of all vehicles at 10 Hz, and compute the motion of their centres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.ndimage import gaussian_filter1d

from synthdrive.config.record_sample import TrafficParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.map_import.sumo_programs import Programs, check_end, sumo_home

_LATERAL_RESOLUTION = 0.8  # m, width of SUMO's sublanes, which make lane changes and evasions continuous
_ATTRIBUTES = "x,y,angle,speed,lane,type"
_JOINT_SECONDS = 1.0  # standard deviation over which a jump at the joint of two lanes is spread
_MAX_BREAK = 0.25  # m; a step whose length differs more than this from speed times time counts as a jump


@dataclass(frozen=True)
class Drive:
    """T steps of V vehicles; NaN (or -1) while a vehicle is not on the road.

    Attributes:
        front: (T, V, 2) float64, middle of the front bumper, metres, city frame.
        heading: (T, V) float64, direction from rear to front bumper, radians, counter-clockwise from +x.
        speed: (T, V) float64, m/s.
        lane: (T, V) int32, index into `lane_names`.
        length: (V,) float64, metres.
        lane_names: SUMO's ids of the lanes.
    """

    front: npt.NDArray[np.float64]
    heading: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    lane: npt.NDArray[np.int32]
    length: npt.NDArray[np.float64]
    lane_names: list[str]


def drive(
    network: Path, demand: Path, folder: Path, traffic: TrafficParameters, seed: int, programs: Programs
) -> Drive:
    """Run SUMO and read the motion that it recorded.

    Args:
        network, demand: files of `street_network.redraw` and `demand.write_demand`.
        folder: folder for SUMO's output.
        traffic: duration of the simulation, and lengths of the vehicles.
        seed: seed of SUMO's own draws (driver errors, speed factors, places of departure).
        programs: runs SUMO.

    Raises:
        InputError: SUMO stops with an error, or no vehicle was recorded.
        MemoryError: SUMO ran out of memory.
    """
    output = folder / "drive.parquet"
    options = {
        "net-file": network,
        "route-files": demand,
        "seed": seed % 2**31,
        "step-length": STEP_SECONDS,
        "end": traffic.warm_up + traffic.seconds,
        "lateral-resolution": _LATERAL_RESOLUTION,
        "time-to-teleport": traffic.time_to_teleport,
        "time-to-teleport.remove": "true",
        "collision.action": "remove",
        "fcd-output": output,
        "fcd-output.attributes": _ATTRIBUTES,
        "device.fcd.begin": traffic.warm_up,
        "precision": 4,
        "no-step-log": "true",
        "no-warnings": "true",
        "xml-validation": "never",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    ended = programs.run([sumo_home() / "bin" / "sumo", *arguments])
    check_end(ended, folder, demand, "a simulation that runs to its end")
    recorded = pq.read_table(output)
    output.unlink()
    return read_drive(recorded, traffic)


def read_drive(recorded: pa.Table, traffic: TrafficParameters) -> Drive:
    """Convert SUMO's floating car data.

    Args:
        recorded: one row per vehicle and step, with columns timestep_time, vehicle_id and one for each of _ATTRIBUTES.
        traffic: lengths of the vehicles.

    Raises:
        InputError: no vehicle was recorded.
    """
    if not recorded.num_rows:
        raise InputError("SUMO's recording", "no vehicle", "at least one; see record_sample.traffic")
    step = np.rint(recorded["timestep_time"].to_numpy() / STEP_SECONDS).astype(np.int64)
    step -= step.min()
    ids, column = _codes(recorded["vehicle_id"])
    lanes, lane = _codes(recorded["vehicle_lane"])
    types, kind = _codes(recorded["vehicle_type"])
    shape = (int(step.max()) + 1, len(ids))

    def grid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filled = np.full(shape, np.nan)
        filled[step, column] = values
        return filled

    lengths = {name: vehicle.length for name, vehicle, _ in traffic.types()}
    length = np.zeros(len(ids))
    length[column] = np.array([lengths[name] for name in types])[kind]
    lane_grid = np.full(shape, -1, dtype=np.int32)
    lane_grid[step, column] = lane
    heading = np.pi / 2 - np.radians(grid(recorded["vehicle_angle"].to_numpy()))  # SUMO: clockwise from north
    return Drive(
        front=np.stack([grid(recorded["vehicle_x"].to_numpy()), grid(recorded["vehicle_y"].to_numpy())], axis=-1),
        heading=heading,
        speed=grid(recorded["vehicle_speed"].to_numpy()),
        lane=lane_grid,
        length=length,
        lane_names=lanes,
    )


def _codes(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the names in a column in order of first occurrence, and the index of each row's name."""
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return chunk.dictionary.to_pylist(), chunk.indices.to_numpy().astype(np.int32)


@dataclass(frozen=True)
class Motion:
    """Centres of V vehicles at T steps.

    Attributes:
        xy: (T, V, 2) float64, metres, city frame; NaN while a vehicle is not on the road.
        sound: (T, V) bool, False where the centre jumps or is NaN.
    """

    xy: npt.NDArray[np.float64]
    sound: npt.NDArray[np.bool_]


def centre_motion(drive: Drive, smoothing: float) -> Motion:
    """Compute the motion of the vehicles' centres.

    SUMO gives the position of the front bumper, which may jump or stand still for up to a metre at the joint of two
    lanes, because the nominal length of a lane may differ from that of its shape. Progress is therefore computed from
    the speed, and follows SUMO's position only slowly (over `_JOINT_SECONDS`). The centre lies half a length behind the
    front bumper, towards the rear one, so that it cuts corners as that of a real car does.

    Args:
        drive: motion that SUMO recorded.
        smoothing: standard deviation of a Gaussian filter over the centres, seconds; 0 for none.
    """
    direction = np.stack([np.cos(drive.heading), np.sin(drive.heading)], axis=-1)  # [T, V, 2]
    raw = drive.front - drive.length[:, None] / 2 * direction
    centre = raw.copy()
    sound = np.isfinite(raw[..., 0])
    for vehicle in range(raw.shape[1]):
        for start, end in _runs_of_true(np.isfinite(raw[:, vehicle, 0])):
            if end - start < 2:
                continue
            part = slice(start, end)
            track = _follow_speed(raw[part, vehicle], direction[part, vehicle], drive.speed[part, vehicle])
            if smoothing > 0:
                track = _smooth(track, smoothing / STEP_SECONDS)
            centre[part, vehicle] = track
            moved = np.hypot(*np.diff(track, axis=0).T)
            expected = drive.speed[start + 1 : end, vehicle] * STEP_SECONDS
            broken = np.abs(moved - expected) > _MAX_BREAK
            sound[start + 1 : end, vehicle] &= ~broken
    return Motion(centre, sound)


def _follow_speed(
    track: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], speed: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Shift a track (T, 2) along its direction (T, 2) so that its progress follows the speed (T,)."""
    step = np.diff(track, axis=0)
    progress = (step * (direction[1:] + direction[:-1]) / 2).sum(axis=-1)
    ahead = np.concatenate([[0.0], np.cumsum(progress - speed[1:] * STEP_SECONDS)])
    slow = gaussian_filter1d(ahead, _JOINT_SECONDS / STEP_SECONDS, mode="nearest")
    shifted: npt.NDArray[np.float64] = track + (slow - ahead)[:, None] * direction
    return shifted


def _smooth(track: npt.NDArray[np.float64], steps: float) -> npt.NDArray[np.float64]:
    """Smooth a track (T, 2), continued by point reflection at its ends, by a Gaussian of `steps` standard deviation."""
    margin = min(math.ceil(4 * steps), len(track) - 1)
    longer = np.pad(track, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    smooth: npt.NDArray[np.float64] = gaussian_filter1d(longer, steps, axis=0, mode="nearest")
    return smooth[margin:-margin]


def _runs_of_true(present: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
