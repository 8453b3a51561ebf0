"""SUMO drives; what it did comes back as positions of every vehicle at every tenth of a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthdrive.config.record_sample import TrafficParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.map_import.sumo_programs import Programs, check_end, sumo_home

_LATERAL_RESOLUTION = 0.8  # m, of the sublanes: lane changes and evasions are continuous
_ATTRIBUTES = "x,y,angle,speed,lane,type"


@dataclass(frozen=True)
class Drive:
    """T steps of V vehicles; NaN (or -1) where a vehicle is not on the road.

    Attributes:
        front: (T, V, 2) float64, middle of the front bumper, metres, city frame.
        heading: (T, V) float64, radians, from the rear bumper to the front, counter-clockwise from +x.
        speed: (T, V) float64, m/s.
        lane: (T, V) int32, index into `lane_names`.
        length: (V,) float64, metres.
        lane_names: SUMO's ids.
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
    """Let SUMO run and read what it recorded.

    Args:
        network, demand: see street_network.redraw and demand.write_demand.
        folder: for SUMO's output.
        seed: of SUMO's own draws (driver errors, speed factors, places of departure).
        programs: runs SUMO.

    Raises:
        InputError: SUMO stops with an error, or nothing moved.
        MemoryError: SUMO was out of memory.
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
    """A Drive from SUMO's floating car data.

    Args:
        recorded: a row a vehicle and step; columns timestep_time, vehicle_id, vehicle_type and _ATTRIBUTES.
    """
    if not recorded.num_rows:
        raise InputError("SUMO's recording", "no vehicle", "traffic; see record_sample.traffic")
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

    lengths = {vehicle.name: vehicle.length for vehicle in traffic.vehicles}
    length = np.zeros(len(ids))
    length[column] = np.array([lengths[name.rsplit("_", 1)[0]] for name in types])[kind]
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
    """The names of a column in the order of their first rows, and each row's name as an index."""
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return chunk.dictionary.to_pylist(), chunk.indices.to_numpy().astype(np.int32)
