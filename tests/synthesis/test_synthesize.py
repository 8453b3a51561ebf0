"""Tests of the whole synthesize stage: its store, its options, and the same bytes on every executor."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from given_parameters import committed
from synthdrive.config.synthetic_data import SynthesizeParameters
from synthdrive.core.artifacts import file_hash, read_json
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parallel import cluster_executor, local_executor, open_executor
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, Links
from synthdrive.scenes.scene_store import AV, SceneStore
from synthdrive.synthesis.motion import agent_tracks
from synthdrive.synthesis.realism import tracking_noise
from synthdrive.synthesis.synthesize import recorded_desired_speeds, synthesize
from synthdrive.synthesis.windows import Exclusion

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

HALF_WIDTH = 50.0


def run(maps, scenes, parameters, directory, executor=None, **options):
    directory.mkdir()
    if executor is not None:
        summary = synthesize(maps, scenes, parameters, HALF_WIDTH, ARGOVERSE1, executor, directory, **options)
    else:
        with ThreadPoolExecutor(1) as one:
            summary = synthesize(maps, scenes, parameters, HALF_WIDTH, ARGOVERSE1, one, directory, **options)
    return SceneStore.load(directory), summary


def test_windows_are_scenes_whose_crop_is_taken_on_the_warped_map(maps, scenes, parameters, tmp_path):
    store, summary = run(maps, scenes, parameters, tmp_path / "out")
    rows = store.manifest.to_pylist()
    assert summary.windows.total() == len(store) == len({row["scene_id"] for row in rows})
    assert {row["source"] for row in rows} == {"original", "augmented"}
    by_name = {scenes[int(index)].scene_id: scenes[int(index)] for index in scenes.kept()}
    for index in range(0, len(store), 7):
        scene, row = store[index], rows[index]
        np.testing.assert_array_equal(scene.agent[LAST_OBSERVED], 0.0)
        augmented = by_name[row["scene"]]
        lanes = augmented.lanes if augmented.lanes is not None else maps[row["city"]].segments
        x, y = scene.origin
        boxes = lanes.bounding_boxes()
        inside = (boxes[:, 0] <= x + 50) & (boxes[:, 2] >= x - 50) & (boxes[:, 1] <= y + 50) & (boxes[:, 3] >= y - 50)
        crop = store.lanes.take(scene.lane_rows)
        np.testing.assert_array_equal(crop.lane_ids, lanes.lane_ids[inside])
        np.testing.assert_array_equal(crop.points, lanes.points[inside])
        assert row["n_lanes"] == len(crop)


def reordered(lane_map):
    """The same lanes in another order."""
    order = np.roll(np.arange(len(lane_map)), 1)
    place = np.argsort(order)

    def neighbours(rows):
        return np.where(rows == NO_LANE, NO_LANE, place[rows])[order]

    def links(of):
        return Links.from_lists([place[of.of(int(row))].tolist() for row in order])

    return LaneMap(
        lane_map.city, lane_map.segments.take(order), neighbours(lane_map.left), neighbours(lane_map.right),
        links(lane_map.successors), links(lane_map.predecessors),
    )  # fmt: skip


def test_scenes_of_another_map_are_refused(maps, scenes, parameters, tmp_path):
    with pytest.raises(InputError, match=r"scenes of ZOO: found scenes made from another map.*Run augment again"):
        run({**maps, "ZOO": reordered(maps["ZOO"])}, scenes, parameters, tmp_path / "reordered")


def test_scenes_made_for_smaller_map_crops_are_refused(maps, scenes, parameters, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(InputError, match=r"scene\.map_half_width: found 50\.1 m; expected at most 50 m.*augment"):
            synthesize(maps, scenes, parameters, 50.1, ARGOVERSE1, executor, tmp_path)
        assert synthesize(maps, scenes, parameters, 40.0, ARGOVERSE1, executor, tmp_path).windows


def test_every_window_is_within_the_limits_if_measured_again(maps, scenes, parameters, tmp_path):
    store, _ = run(maps, scenes, parameters, tmp_path / "out")
    tracks = agent_tracks(store)
    speed = np.hypot(*np.moveaxis(np.diff(tracks, axis=1), -1, 0)) / 0.1
    acceleration = np.diff(speed, axis=1) / 0.1
    assert np.abs(acceleration).max() <= 3.0
    np.testing.assert_allclose(store.manifest["max_speed"].to_numpy(), speed.max(axis=1), atol=1e-3)
    np.testing.assert_allclose(store.manifest["min_acceleration"].to_numpy(), acceleration.min(axis=1), atol=2e-2)
    assert store.manifest["max_lane_distance"].to_numpy().max() <= 1.5


def test_names_and_times_follow_the_scheme_of_the_released_files(maps, scenes, parameters, tmp_path):
    store, _ = run(maps, scenes, parameters, tmp_path / "out")
    for row in store.manifest.to_pylist():
        prefix = "augmap_" if row["source"] == "augmented" else ""
        name = f"{prefix}dv{row['desired_speed']:g}{row['city']}_{row['route']}_id_{row['window']}_tr_5.0_ti_2.0"
        assert row["scene_id"] == name
        assert row["start_time"] == pytest.approx(2.0 * (row["window"] - 1))


def test_road_already_driven_by_an_earlier_route_gives_no_windows(maps, scenes, parameters, tmp_path):
    parameters.windows.only_fresh = False
    everything, _ = run(maps, scenes, parameters, tmp_path / "all")
    parameters.windows.only_fresh = True
    fresh, _ = run(maps, scenes, parameters, tmp_path / "fresh")
    assert set(fresh.scene_ids) < set(everything.scene_ids)


def test_bytes_do_not_depend_on_the_number_of_workers(maps, scenes, parameters, tmp_path):
    for workers in (1, 2):
        with local_executor(workers) as executor:
            run(maps, scenes, parameters, tmp_path / str(workers), executor)
    assert file_hash(tmp_path / "1") == file_hash(tmp_path / "2")


@pytest.mark.parametrize("workers", [1, 40])
def test_every_worker_of_a_large_machine_has_work(maps, scenes, parameters, tmp_path, monkeypatch, workers):
    """Enough tasks are submitted to keep all workers busy, but not more, so that memory is limited."""
    pending, most_pending = [], [0]

    class Counting(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            pending.append(1)
            most_pending[0] = max(most_pending[0], len(pending))
            future = Future()
            future.set_result(function(*arguments))
            result = future.result
            future.result = lambda: (pending.pop(), result())[1]
            return future

    monkeypatch.setattr("synthdrive.synthesis.synthesize.CHUNK", 1)
    with Counting(workers) as executor:
        run(maps, scenes, parameters, tmp_path / "out", executor)
    assert len(scenes.kept()) > 8
    assert most_pending[0] == min(2 * workers, len(scenes.kept()))


def test_a_dask_cluster_gives_the_same_bytes(maps, scenes, parameters, tmp_path):
    distributed = pytest.importorskip("distributed")
    run(maps, scenes, parameters, tmp_path / "local")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        open_executor(cluster.scheduler_address) as executor,
    ):
        run(maps, scenes, parameters, tmp_path / "dask", executor)
    assert file_hash(tmp_path / "local") == file_hash(tmp_path / "dask")


def test_unknown_executors_are_refused(monkeypatch):
    with pytest.raises(ParameterError, match="executor"), open_executor("cloud"):
        pass
    monkeypatch.setenv("SYNTHDRIVE_EXECUTOR", "slurm")
    with pytest.raises(ParameterError, match="slurm"), open_executor():
        pass
    monkeypatch.setattr("synthdrive.core.parallel.CONNECT_SECONDS", 0.5)
    with pytest.raises(ParameterError, match="Dask scheduler"), cluster_executor("tcp://127.0.0.1:9"):
        pass


def test_stops_speed_variation_background_agents_and_noise_change_the_store(maps, scenes, parameters, tmp_path):
    plain, _ = run(maps, scenes, parameters, tmp_path / "plain")
    parameters.stops.spacing = 100.0
    parameters.background_agents.count = 5
    parameters.speed_variation.interval = 40.0
    parameters.noise.std = 0.1
    parameters.validate("synthesize")
    store, _ = run(maps, scenes, parameters, tmp_path / "options")
    manifest = store.manifest.to_pandas()
    assert (plain.manifest["min_speed"].to_numpy() > 1.0).all()
    assert (manifest.min_speed < 0.1).any()
    assert 5 <= np.diff(store.scene_tracks).max() <= 11
    assert any(AV in store[index].track_types for index in range(len(store)))
    assert {len(store[0].track(k)) for k in range(len(store[0].track_types))} <= set(range(1, STEPS + 1))
    steps = np.diff(agent_tracks(store), n=3, axis=1)
    assert np.abs(steps).mean() > 5 * np.abs(np.diff(agent_tracks(plain), n=3, axis=1)).mean()


def test_noise_has_the_given_deviation_correlation_and_spread_over_tracks(parameters):
    parameters.noise.std, parameters.noise.correlation_time = 0.2, 0.3
    turn = np.linspace(0.0, 2.0, 50)
    xy = np.broadcast_to(20.0 * np.stack([np.cos(turn), np.sin(turn)], axis=1), (4000, 50, 2))
    even = tracking_noise(xy, parameters.noise, np.random.default_rng(3))
    assert even.std() == pytest.approx(0.2, rel=0.02)
    assert np.mean(even[:, :-1] * even[:, 1:]) / np.mean(even**2) == pytest.approx(np.exp(-0.1 / 0.3), abs=0.01)
    parameters.noise.log_std = 0.6
    spread = tracking_noise(xy, parameters.noise, np.random.default_rng(3))
    logs = np.log(np.sqrt((spread**2).mean(axis=(1, 2))))
    assert np.median(logs) == pytest.approx(np.log(0.2), abs=0.05)
    assert logs.std() == pytest.approx(0.6, rel=0.1)
    parameters.noise.log_std, parameters.noise.lateral_factor = 0.0, 0.25
    narrow = tracking_noise(xy, parameters.noise, np.random.default_rng(3))
    ahead = np.stack([-np.sin(turn), np.cos(turn)], axis=1)
    assert (narrow * ahead).sum(axis=-1).std() == pytest.approx(0.2, rel=0.03)
    assert (narrow * ahead[:, ::-1] * [1.0, -1.0]).sum(axis=-1).std() == pytest.approx(0.05, rel=0.03)


def test_desired_speeds_can_come_from_recorded_scenes(maps, scenes, parameters, tmp_path):
    recorded = recorded_desired_speeds(pa.table({"agent_max_speed": [0.5, 9.06, 18.12, 90.0]}), 0.906)
    np.testing.assert_allclose(recorded, [3.0, 10.0, 20.0, 30.0])
    parameters.speed_source = "recorded"
    store, _ = run(maps, scenes, parameters, tmp_path / "out", recorded_speeds=np.array([4.5, 22.0]))
    assert set(store.manifest["desired_speed"].to_pylist()) == {4.5, 22.0}


def test_recorded_speeds_need_the_column_with_them():
    with pytest.raises(InputError, match=r"found columns scene_id, city; expected a column agent_max_speed"):
        recorded_desired_speeds(pa.table({"scene_id": ["a"], "city": ["TOY"]}), 0.906)


def test_original_scenes_need_a_desired_speed(maps, scenes, parameters, tmp_path):
    parameters.desired_speeds = []
    parameters.validate("synthesize")
    with pytest.raises(ParameterError, match=r"synthesize\.desired_speeds: found no speed; .*for the original scenes"):
        run(maps, scenes, parameters, tmp_path / "out")


@pytest.mark.parametrize("name", ["desired_speeds", "desired_speeds_augmented"])
def test_a_desired_speed_given_twice_is_refused(name):
    """It would give windows with equal names."""
    with pytest.raises(ParameterError, match=rf"synthesize\.{name}: found .*; expected no item twice"):
        committed(SynthesizeParameters, **{name: [5.0, 8, 5]})


def test_scenes_of_a_city_without_a_map_are_refused(maps, scenes, parameters, tmp_path):
    with pytest.raises(InputError, match="ZOO"):
        run({"TOY": maps["TOY"]}, scenes, parameters, tmp_path / "out")


def test_windows_near_judged_scenes_are_left_out_and_counted(maps, scenes, parameters, tmp_path):
    """Distances are measured again, step by step, after moving each window back to the recorded map."""
    everything, _ = run(maps, scenes, parameters, tmp_path / "all")
    judged = agent_tracks(everything)[0] + everything.origins[0]
    city, radius = everything.cities[0], 60.0
    kept, summary = run(maps, scenes, parameters, tmp_path / "kept", exclusion=Exclusion({city: judged}, radius))
    by_name = {scenes[int(index)].scene_id: scenes[int(index)] for index in scenes.kept()}
    expected, near = [], []
    for index, row in enumerate(everything.manifest.to_pylist()):
        xy = everything[index].agent + everything[index].origin
        xy = by_name[row["scene"]].transform.unwarp(xy)
        least = np.hypot(*(xy[:, None] - judged[None]).T).min() if row["city"] == city else np.inf
        expected += [row["scene_id"]] if least >= radius else []
        near += [row["source"]] if least < radius else []
    assert kept.scene_ids == expected
    assert set(near) == {"original", "augmented"}
    counts = read_json(tmp_path / "kept" / "summary.json")
    assert all(counts["excluded"][source] >= near.count(source) for source in set(near))  # limits drop some anyway
    assert counts["routes"]["left"] == len({(row["city"], row["route"]) for row in kept.manifest.to_pylist()})
    assert "left out near evaluated scenes" in str(summary)


def test_all_windows_of_a_route_may_be_left_out_near_judged_scenes(maps, scenes, parameters, tmp_path):
    everything, _ = run(maps, scenes, parameters, tmp_path / "all")
    kept, summary = run(maps, scenes, parameters, tmp_path / "kept", exclusion=Exclusion.of(everything, 1.0))
    sources = [row["source"] for row in kept.manifest.to_pylist()]
    assert "original" not in sources
    assert summary.excluded["original"] >= everything.manifest["source"].to_pylist().count("original")


def test_without_a_radius_the_summary_does_not_mention_judged_scenes(maps, scenes, parameters, tmp_path):
    run(maps, scenes, parameters, tmp_path / "out")
    assert set(read_json(tmp_path / "out" / "summary.json")) == {"windows", "dropped"}
