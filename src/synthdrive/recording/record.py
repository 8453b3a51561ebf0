"""Record the sample data: simulate traffic on real streets, and write it in the layout of Argoverse 1."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.config.record_sample import CityParameters, RecordSampleParameters, SceneParameters
from synthdrive.core.artifacts import atomic_directory, check_replaceable, scratch_directory
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import ordered_map, track, worker_count
from synthdrive.core.seeding import generator, item_seed
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.formats.argoverse1_writers import SceneRows, open_scene_archive, scene_csv, write_maps
from synthdrive.map_import.street_map import draw_map
from synthdrive.map_import.street_network import network_file, redraw
from synthdrive.map_import.sumo_network import read_street_lanes
from synthdrive.map_import.sumo_programs import Programs
from synthdrive.recording.demand import Streets, park, write_demand
from synthdrive.recording.scene_selection import STEPS, CityParts, choose, find_candidates
from synthdrive.recording.simulation import Motion, centre_motion, drive
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

SPLIT_NAMES = ("train", "val")
ARCHIVES = {"train": "forecasting_train_v1.1.tar.gz", "val": "forecasting_val_v1.1.tar.gz"}
MAP_ARCHIVE = "hd_maps.tar.gz"

_IDS_PER_CITY = 1_000_000
_SECONDS_PER_RUN = 10_000.0  # between the first time stamps of two runs, so that runs do not overlap
_EPOCH = 315_970_000.0  # s; time stamps of Argoverse 1 are of this order
_MIN_ROWS = 2  # rows of the shortest track
_PARKED_FROM = 10_000_000  # track number of the first parked vehicle
_AV_ID = "00000000-0000-0000-0000-000000000000"  # as in the official files
_SPARE = 1.2  # scenes drawn per scene wanted, because scenes in which a track jumps are dropped

_CREDIT = """# Recorded with SUMO on streets from OpenStreetMap

Vehicles driven by Eclipse SUMO {version} on the street networks that its package brings, in the layout of Argoverse 1.

{networks}
The streets are (c) OpenStreetMap contributors, available under the Open Database License (ODbL) 1.0:
https://www.openstreetmap.org/copyright. The maps here are derived from that database and stay under the same license.
The networks were prepared by the authors of Eclipse SUMO (German Aerospace Center, DLR, and others), EPL-2.0.
No file here comes from Argo AI; only the format is theirs.
"""


@dataclass(frozen=True)
class Run:
    """One simulation: city, network and parts of the city, number of scenes wanted per split, and number of the run."""

    city: CityParameters
    network: Path
    parts: CityParts
    parameters: RecordSampleParameters
    wanted: dict[str, int]
    number: int
    programs: Programs


def record(output: Path, parameters: RecordSampleParameters, workers: int | None = None) -> dict[str, int]:
    """Record maps and scenes into `output`, completely or not at all.

    Args:
        output: folder for the three archives of the official layout and a notice about the source of the streets.
        workers: number of simulations at the same time; the bytes written do not depend on it.

    Returns:
        number of scenes written, by split.

    Raises:
        InputError: a simulation fails, or yields too few scenes; or see `artifacts.check_replaceable`.
    """
    check_replaceable(output, (MAP_ARCHIVE, *ARCHIVES.values()))
    with atomic_directory(output) as folder, scratch_directory(output) as scratch:
        maps, runs = {}, list[Run]()
        programs = Programs()
        for place, city in enumerate(parameters.cities):
            print(f"record_sample: {city.code}: redrawing {city.network}", file=sys.stderr, flush=True)
            network, lane_map = _prepare(city, scratch, parameters, (place + 1) * _IDS_PER_CITY)
            maps[city.code] = lane_map
            runs += _runs(city, network, lane_map, parameters, len(runs), programs)
        write_maps(folder / MAP_ARCHIVE, maps)
        (folder / "README.md").write_text(_credit(parameters), encoding="utf-8")
        executor = ThreadPoolExecutor(worker_count(workers))  # threads suffice: most time is spent in SUMO's process
        try:
            return _record_scenes(folder, runs, parameters, executor)
        except BaseException:
            programs.stop()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


def _prepare(
    city: CityParameters, scratch: Path, parameters: RecordSampleParameters, first_id: int
) -> tuple[Path, LaneMap]:
    folder = scratch / city.code
    folder.mkdir()
    network = redraw(network_file(city.network), folder, parameters.streets)
    return network, draw_map(city.code, read_street_lanes(network), parameters.map, first_id)


def _runs(
    city: CityParameters,
    network: Path,
    lane_map: LaneMap,
    parameters: RecordSampleParameters,
    number: int,
    programs: Programs,
) -> Iterator[Run]:
    parts = CityParts.of(lane_map, city, parameters.scenes.band)
    fractions = sum(other.scenes_fraction for other in parameters.cities)
    totals = {"train": parameters.scenes.train, "val": parameters.scenes.val}
    first = parameters.cities[0].code == city.code
    others = [other for other in parameters.cities if other is not parameters.cities[0]]
    for split, total in totals.items():
        elsewhere = sum(round(total * other.scenes_fraction / fractions) for other in others)
        totals[split] = total - elsewhere if first else round(total * city.scenes_fraction / fractions)
    for run in range(city.runs):
        wanted = {split: total * (run + 1) // city.runs - total * run // city.runs for split, total in totals.items()}
        yield Run(city, network, parts, parameters, wanted, number + run, programs)


def _record_scenes(
    folder: Path, runs: list[Run], parameters: RecordSampleParameters, executor: Executor
) -> dict[str, int]:
    next_id = {"train": 1, "val": parameters.scenes.train + 1}
    with (
        open_scene_archive(folder / ARCHIVES["train"], "train") as train,
        open_scene_archive(folder / ARCHIVES["val"], "val") as val,
    ):
        archives = {"train": train, "val": val}
        for scenes in track(ordered_map(executor, record_run, runs), "record_sample", len(runs), "simulations"):
            for split, files in scenes.items():
                for content in files:
                    archives[split].add(next_id[split], content)
                    next_id[split] += 1
        return {split: len(archive) for split, archive in archives.items()}


def record_run(run: Run) -> dict[str, list[bytes]]:
    """Run one simulation and cut scenes out of it; return their CSV files by split, in order of time.

    Raises:
        InputError: the simulation fails, or there are fewer suitable scenes than wanted.
    """
    parameters, seed = run.parameters, run.parameters.seed
    traffic, name = parameters.traffic, (run.city.code, run.number)
    lanes = read_street_lanes(run.network)
    with tempfile.TemporaryDirectory(prefix="run-", dir=run.network.parent) as scratch:
        demand = Path(scratch) / "demand.rou.xml"
        seconds = traffic.warm_up + traffic.seconds
        write_demand(demand, Streets.of(lanes), traffic, seconds, generator(seed, "demand", *name))
        driven = drive(run.network, demand, Path(scratch), traffic, item_seed(seed, "sumo", *name), run.programs)
    motion = centre_motion(driven, parameters.scenes.smoothing)
    parked = park(lanes, traffic.parked_per_km, parameters.parking, generator(seed, "parking", *name))
    junction = np.array([lanes[lane].in_junction for lane in driven.lane_names])
    numbers = {edge: number for number, edge in enumerate(sorted({lane.edge for lane in lanes.values()}))}
    edges = np.array([numbers[lanes[lane].edge] for lane in driven.lane_names])
    kept: dict[str, list[bytes]] = {}
    for split in SPLIT_NAMES:
        candidates = find_candidates(
            split, run.parts, driven, motion, junction, edges, parameters.scenes, parameters.interest
        )
        wanted = run.wanted[split]
        random = generator(seed, "choice", split, *name)
        files = dict[tuple[int, int], bytes]()
        for row in choose(candidates, round(wanted * _SPARE), parameters.scenes, random).tolist():
            start, agent = int(candidates.start[row]), int(candidates.vehicle[row])
            scene = record_scene(
                split, run.parts, motion, parked, start, agent, int(candidates.av[row]), run.city.code,
                run.number * _SECONDS_PER_RUN, parameters.scenes, generator(seed, "noise", *name, start, agent),
            )  # fmt: skip
            if scene is not None and len(files) < wanted:
                files[start, agent] = scene_csv(scene)
        if len(files) < wanted:
            raise InputError(
                f"record_sample: run {run.number} in {run.city.code}, {split}",
                f"{len(files)} scenes worth keeping",
                f"{wanted} scenes",
                "Raise traffic.seconds, the traffic or the city's runs, or ask for fewer scenes.",
            )
        kept[split] = [files[key] for key in sorted(files)]
    return kept


def record_scene(
    split: str,
    parts: CityParts,
    motion: Motion,
    parked: npt.NDArray[np.float64],
    start: int,
    agent: int,
    av: int,
    city: str,
    clock: float,
    scenes: SceneParameters,
    random: np.random.Generator,
) -> SceneRows | None:
    """Return the scene that the AV records from step `start`, or None if a track in it jumps.

    The AV sees vehicles within `scenes.sensor_range` that are on the split's side of the city.

    Args:
        split: train or val.
        parts: parts of the city for each split.
        motion: centres of the V vehicles of a run.
        parked: (P, 2) centres of the parked vehicles, metres.
        start: first step of the scene.
        agent, av: columns of `motion` with the focal agent and the AV.
        city: code of the city.
        clock: time of the run's first step after the epoch of the data, seconds.
        scenes: sensor range, tracking noise.
        random: generator for the tracking noise.
    """
    window = slice(start, start + STEPS)
    here = np.flatnonzero(_near(motion.xy[window], motion.xy[window, av], scenes.sensor_range))
    if not motion.sound[window, here][np.isfinite(motion.xy[window, here, 0])].all():
        return None
    waiting = parked[_near(parked[None], motion.xy[window, av], scenes.sensor_range)]
    xy = np.concatenate([motion.xy[window, here], np.broadcast_to(waiting, (STEPS, *waiting.shape))], axis=1)
    away = np.linalg.norm(xy - motion.xy[window, av, None], axis=-1)
    types = np.full(xy.shape[1], OTHERS, dtype=np.uint8)
    types[: len(here)][here == agent], types[: len(here)][here == av] = AGENT, AV
    seen = (away <= scenes.sensor_range) & (parts.beyond(split, xy) > 0) | (types != OTHERS)  # False where NaN
    seen &= seen.sum(axis=0) >= _MIN_ROWS
    step, column = np.nonzero(seen)  # in order of time
    numbers = [*(here + 1).tolist(), *range(_PARKED_FROM, _PARKED_FROM + len(waiting))]
    names = [_AV_ID if kind == AV else f"{_AV_ID[:-8]}{k:08d}" for k, kind in zip(numbers, types, strict=True)]
    noise = random.normal(scale=scenes.tracking_noise, size=(len(step), 2)) if scenes.tracking_noise > 0 else 0.0
    return SceneRows(
        timestamps=np.asarray(_EPOCH + clock + (start + step) * STEP_SECONDS, dtype=np.float64),
        track_ids=[names[k] for k in column.tolist()],
        track_types=types[column],
        xy=xy[step, column] + noise,
        city=city,
    )


def _near(xy: npt.NDArray[np.float64], centre: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.bool_]:
    """Return (V,) bool: do positions `xy` (T, V, 2) come within `radius` of `centre` (T, 2) at any step?"""
    near: npt.NDArray[np.bool_] = (((xy - centre[:, None]) ** 2).sum(axis=-1) <= radius**2).any(axis=0)
    return near


def _credit(parameters: RecordSampleParameters) -> str:
    networks = "".join(f"* {city.code}: `{city.network}`\n" for city in parameters.cities)
    return _CREDIT.format(version=version("eclipse-sumo"), networks=networks)
