"""A small made-up run in the pipeline's formats, so that the report can be tested without running the pipeline."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import yaml

from given_parameters import paper
from repository import PARAMS
from synthdrive.augmentation.augmented_scenes import AugmentedScene, join_scenes
from synthdrive.augmentation.transforms import SHAPES, Transform, make_transform
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.report import ReportParameters, SelectedRuns
from synthdrive.config.training import FinetuneParameters, ModelParameters, PretrainParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.evaluate import write_evaluation
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.reconstructions import FixedWindows
from synthdrive.reporting.report import ReportInputs
from synthdrive.reporting.run_results import RunPaths
from synthdrive.scenes.lane_map import MAX_POINTS, LaneMap, LaneSegments, Links
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS, SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter
from synthdrive.training.checkpoints import RECONSTRUCTION, RECONSTRUCTIONS, save_checkpoint
from synthdrive.training.monitoring import look_again

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps


BLOCK = 60.0  # m between the streets of the made-up town
STREETS = 6


def town(city: str = "TOWN") -> LaneMap:
    """A grid of one-way streets, each cut into lanes of 20 m."""
    lines, successors = [], []
    for axis in (0, 1):
        for street in range(STREETS):
            for piece in range(int(BLOCK * STREETS / 20)):
                along = np.linspace(20.0 * piece, 20.0 * (piece + 1), MAX_POINTS)
                across = np.full(MAX_POINTS, BLOCK * street + 10.0)
                lines.append(np.stack([along, across] if axis == 0 else [across, along], axis=1))
                last = piece == int(BLOCK * STREETS / 20) - 1
                successors.append([] if last else [len(lines)])
    size = len(lines)
    predecessors: list[list[int]] = [[] for _ in range(size)]
    for row, following in enumerate(successors):
        for lane in following:
            predecessors[lane].append(row)
    segments = LaneSegments(
        lane_ids=np.arange(size, dtype=np.int64) + 1000,
        points=np.stack(lines),
        counts=np.full(size, MAX_POINTS, dtype=np.int64),
        turn=np.zeros(size, dtype=np.int8),
        is_intersection=np.zeros(size, dtype=bool),
        has_traffic_control=np.zeros(size, dtype=bool),
    )
    none = np.full(size, -1, dtype=np.int64)
    return LaneMap(city, segments, none, none, Links.from_lists(successors), Links.from_lists(predecessors))


def drive(random: np.random.Generator, turn: str, speed: float) -> np.ndarray:
    """A drive (50, 2) float64 along a street, which bends after the last observed step."""
    bend = {"left": 0.04, "right": -0.04, "straight": 0.0}[turn]
    heading = np.concatenate([np.zeros(LAST_OBSERVED), np.cumsum(np.full(STEPS - LAST_OBSERVED, bend))])
    heading += random.integers(0, 2) * np.pi / 2
    step = 0.1 * (speed + np.linspace(0, random.uniform(-1, 1), STEPS))[:, None]
    track = np.cumsum(step * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    return track - track[LAST_OBSERVED] + BLOCK * random.integers(1, 5, 2) + 10.0


def write_scenes(directory: Path, lane_map: LaneMap, count: int, seed: int, synthetic: bool = False) -> None:
    """Write a store of `count` made-up scenes; synthetic scenes contain only AGENT."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    with atomic_directory(directory) as partial:
        writer = SceneStoreWriter(partial, ARGOVERSE1)
        for index in range(count):
            turn = ("left", "straight", "right")[index % 3]
            speed = float(random.uniform(5, 9) if synthetic else random.uniform(2, 14))
            agent = drive(random, turn, speed)
            origin = agent[LAST_OBSERVED]
            tracks = [agent] if synthetic else [agent, drive(random, "straight", 8.0), drive(random, "left", 4.0)[:31]]
            types = [AGENT] if synthetic else [AGENT, AV, OTHERS]
            near = lane_map.lanes_near(*origin, 50.0)
            writer.append(
                np.concatenate(tracks) - origin,
                np.concatenate([np.arange(len(track)) for track in tracks]).astype(np.uint8),
                np.array([len(track) for track in tracks]),
                np.array(types, dtype=np.uint8),
                np.arange(STEPS, dtype=np.float32) * 0.1,
                near.astype(np.int32),
            )
            rows.append(_manifest_row(index, lane_map.city, origin, turn, speed, synthetic, len(near)))
        writer.close(pa.Table.from_pylist(rows), lane_map.segments)


def _manifest_row(
    index: int, city: str, origin: np.ndarray, turn: str, speed: float, synthetic: bool, lanes: int
) -> dict[str, object]:
    change = {"left": 1.2, "right": -1.2, "straight": 0.0}[turn]
    row: dict[str, object] = {
        "scene_id": f"{'w' if synthetic else 's'}{index:05d}", "city": city,
        "origin_x": float(origin[0]), "origin_y": float(origin[1]), "n_lanes": lanes,
    }  # fmt: skip
    if not synthetic:
        return row | {"turn": turn, "agent_mean_speed": speed, "agent_max_speed": speed + 1,
                      "agent_heading_change": change, "n_tracks": 3, "at_intersection": False,
                      "agent_displacement": 4.9 * speed}  # fmt: skip
    augmented = index % 2 == 1
    return row | {
        "source": "augmented" if augmented else "original", "scene": f"r{index // 4}", "route": f"r{index // 4}",
        "window": index % 4, "start_time": 2.0 * (index % 4), "desired_speed": 10.0,
        "transform": "smooth" if augmented else "none", "amplitude": 5.0 if augmented else 0.0, "direction": 1.0,
        "anchor": 0.0, "min_speed": speed - 1, "max_speed": speed + 1, "mean_speed": speed, "min_acceleration": -1.0,
        "max_acceleration": 1.0, "max_lateral_acceleration": 2.0, "max_jerk": 3.0, "max_curvature": 0.1,
        "max_heading_step": 0.1, "max_step": 1.0, "max_lane_distance": 0.6, "heading_change": change,
    }  # fmt: skip


LOSSES = [{
    "lanes": {"loss": 0.3 + 0.1 * seed, "zero": 9.0, "repeat": 4.0, "straight": 0.4, "blind": 0.8, "gain": 0.5},
    "trajectory": {"loss": 0.2, "zero": 8.0, "constant_velocity": 0.9, "quadratic": 0.18, "blind": 0.25, "gain": 0.2},
} for seed in range(2)]  # fmt: skip
VARIANTS, SEEDS, BASELINES = ("none", "combined"), (0, 1), ("constant_velocity", "lane_following")
CLAIMS = [{
    "id": "combined-lowers", "about": "effects", "group": "effect", "source": "table",
    "says": "Combined lowers minFDE6 ({table_changes.combined.minFDE6:+.2f} %).",
    "needs": {"variants": ["none", "combined"]},
    "test": {"kind": "lowers", "variant": "combined", "metric": "minFDE6"},
}]  # fmt: skip


def write_run(root: Path, scenes: int = 24, improvement: float = 0.7, learned_error: float = 0.5) -> RunPaths:
    """Write the artifacts that the report reads to `root`; `combined` has `improvement` times the error of `none`."""
    paths = RunPaths(**{field.name: root / field.default for field in fields(RunPaths)})
    lane_map = town()
    paths.maps.mkdir(parents=True)
    lane_map.save(paths.maps / "TOWN.safetensors")
    write_scenes(paths.train, lane_map, 2 * scenes, 1)
    write_scenes(paths.val, lane_map, scenes, 2)
    write_scenes(paths.synthetic, lane_map, 40, 3, synthetic=True)
    _write_augmented(paths.augmented, lane_map)
    for name in ("raw", "synthetic"):
        expectation = {"description": "speed is plausible", "success": True, "result": {"element_count": 9}}
        validation = {"success": True, "table": "scenes", "expectations": [expectation]}
        write_json(paths.checks / f"{name}.json", {"success": True, "validation_results": [validation]})
    store = SceneStore.load(paths.val)
    for variant in VARIANTS:
        for seed in SEEDS:
            _write_models(paths, variant, seed)
            scale = learned_error * (improvement if variant == "combined" else 1.0)
            _write_forecasts(
                paths, store, f"{variant}-{seed}", scale, seed, {"stage": "evaluate", "variant": variant, "seed": seed}
            )
    for name in BASELINES:
        _write_forecasts(paths, store, name, 1.0, 9, {"stage": "evaluate", "variant": name, "seed": None})
    return paths


def report_inputs(
    paths: RunPaths, root: Path, repository: Path, claims: list[dict[str, object]] | None = None
) -> ReportInputs:
    """Inputs of a report on `write_run`'s artifacts, with the given claims or the repository's ledger."""
    ledger = repository / "claims.yaml"
    if claims is not None:
        ledger = root / "claims.yaml"
        ledger.write_text(yaml.safe_dump({"claims": claims}))
    small = paper(
        ReportParameters, bootstrap_samples=200, recorded_scenes=3, synthetic_windows=4, augmented_scenes=2, drives=2,
        forecast_scenes=3,
        reconstructions=1,
    )  # fmt: skip
    return ReportInputs(
        paths, SelectedRuns(VARIANTS, SEEDS), "sample", "official", repository / "published.yaml", ledger, small
    )


def _write_augmented(directory: Path, lane_map: LaneMap) -> None:
    scenes, rows = [], []
    for index, kind in enumerate(("none", "smooth", "double")):
        transform = make_transform(kind, 5.0, 100.0, SHAPES["released"]) if index else Transform()
        line = np.stack([np.linspace(10.0, 340.0, 331), np.full(331, 130.0)], axis=1)
        source = "augmented" if index else "original"
        lanes = lane_map.segments.with_points(transform.warp(lane_map.segments.points)) if index else None
        scene = AugmentedScene(
            scene_id=f"r{index}", city=lane_map.city, route=index, source=source, transform_kind=kind, amplitude=5.0,
            direction=1 if index else 0, transform=transform, centreline=transform.warp(line),
            fresh=np.ones(len(line), dtype=bool), route_lanes=np.arange(5),
            corridor=np.arange(5), lanes=lanes,
        )  # fmt: skip
        scenes.append(scene)
        shape = SHAPES["released"]
        rows.append({
            "scene_id": scene.scene_id, "city": scene.city, "route": index, "source": source, "transform": kind,
            "amplitude": 5.0, "direction": scene.direction, "axis": 0.0, "anchor": 100.0, "power": shape.power,
            "border": shape.border, "shift": shape.shift, "wavelength": shape.wavelength,
            "length": 330.0, "fresh_length": 330.0, "min_radius": 10.0, "bend": 2.0 * index, "status": "kept",
            "n_lanes": 0 if lanes is None else len(lanes),
        })  # fmt: skip
    with atomic_directory(directory) as partial:
        join_scenes(rows, scenes, {lane_map.city: lane_map}, 50.0).save(partial)


def _write_models(paths: RunPaths, variant: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = paper(ModelParameters, hidden_size=32)
    settings = paper(PretrainParameters)
    run = f"{variant}-{seed}"
    metadata = {"variant": variant, "seed": seed, "description": f"the variant {variant}", "model": plain_values(model)}
    metadata["timing"] = ARGOVERSE1.plain()
    curve = [{"epoch": e / 4, "step": float(e), "loss": 9 / e, "map": 5 / e, "trajectory": 4 / e} for e in range(1, 20)]
    if variant == "none":
        origin: dict[str, object] = {"trained": False}
    else:
        network = MaskedAutoencoder(model, settings, ARGOVERSE1)
        origin = {"trained": True}
        used = plain_values({"model": model, "pretrain": settings})
        pretrained = {**metadata, "stage": "pretrain", "parameters": used}
        kept = {RECONSTRUCTIONS: _reconstructions(paths.synthetic, network, settings, seed)}
        save_checkpoint(paths.pretrained / run, network, pretrained, curve, kept)
        write_json(paths.pretrained / run / RECONSTRUCTION, LOSSES[seed])
    used = plain_values({"model": model, "finetune": paper(FinetuneParameters)})
    curve = [{"epoch": e / 4, "step": float(e), "loss": 9 / e, "goal": 5 / e, "top1_fde": 4 / e} for e in range(1, 20)]
    save_checkpoint(
        paths.finetuned / run,
        DenseTNT(model, ARGOVERSE1),
        {**metadata, "stage": "finetune", "parameters": used, "pretrained": origin},
        curve,
    )


def _reconstructions(
    synthetic: Path, network: MaskedAutoencoder, settings: PretrainParameters, seed: int
) -> dict[str, torch.Tensor]:
    """The reconstructions that pre-training would record, of a network whose weights only grow a little every epoch."""
    store = SceneStore.load(synthetic)
    watched = FixedWindows(store, np.arange(len(store)), settings, seed)
    seen = look_again(watched, network, {})
    for _ in range(settings.epochs):
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(1.05)
        seen = look_again(watched, network, seen)
    return {**watched.fixed(network), **seen}


def _write_forecasts(
    paths: RunPaths, store: SceneStore, name: str, scale: float, seed: int, metadata: dict[str, object]
) -> None:
    truth = np.stack([store[index].agent[LAST_OBSERVED + 1 :] for index in range(len(store))]).astype(np.float64)
    random, shared = np.random.default_rng(seed), np.random.default_rng(1000)  # hard scenes are hard with every seed
    growth = np.linspace(0, 1, truth.shape[1])[:, None]
    shape = len(store), 6, 1, 2
    noise = scale * (shared.normal(0, 2.0, shape) + random.normal(0, 0.2, shape)) * growth
    forecasts = Forecasts.ranked(store.scene_ids, truth[:, None] + noise, random.uniform(0.1, 1.0, (len(store), 6)))
    parameters = load_section(EvaluateParameters, "evaluate", PARAMS)
    write_evaluation(
        forecasts, store, replace(parameters, bootstrap_samples=20), metadata, paths.forecasts / name,
        paths.metrics / f"{name}.json",
    )  # fmt: skip
