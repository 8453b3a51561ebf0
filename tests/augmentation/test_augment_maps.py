"""Tests of the whole augment stage."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from synthdrive.augmentation.augment_maps import augment_maps, describe, draw_transform
from synthdrive.augmentation.augmented_scenes import KEPT, AugmentedScenes
from synthdrive.augmentation.corridor import joined_centreline
from synthdrive.core.artifacts import file_hash, read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import local_executor, open_executor

HALF_WIDTH = 50.0


@pytest.fixture
def scenes(city, augment):
    with ThreadPoolExecutor(1) as executor:
        return augment_maps({"TOY": city}, augment, HALF_WIDTH, executor)


def test_every_route_has_an_original_and_an_augmented_scene(scenes):
    rows = scenes.manifest.to_pylist()
    originals = [row for row in rows if row["source"] == "original"]
    augmented = [row for row in rows if row["source"] == "augmented"]
    assert [row["route"] for row in originals] == [row["route"] for row in augmented]
    assert all(row["transform"] == "none" and row["direction"] == 0 for row in originals)
    assert all(row["direction"] in (-1, 1) and row["amplitude"] >= 1 for row in augmented)


def test_scene_records_its_transform_and_has_lanes_warped_by_it(scenes, city):
    for index in scenes.kept():
        scene = scenes[int(index)]
        assert len(scene.centreline) == len(scene.fresh)
        if scene.lanes is None:
            continue
        np.testing.assert_array_equal(scene.lanes.lane_ids, city.segments.lane_ids[scene.corridor])
        starts = city.segments.points[scene.corridor, 0]
        np.testing.assert_allclose(scene.lanes.points[:, 0], scene.transform.warp(starts), atol=1e-3)
        original = scene.transform.unwarp(scene.centreline)
        assert scene.transform.anchor == pytest.approx(original[:, 0].min(), abs=1e-3)


def test_every_route_is_bent_along_its_own_axis_and_those_that_keep_their_shape_are_counted(city, augment):
    """Turned by a right angle, the city's streets along X run along Y, the axis across which the paper bends roads."""
    turned = city.segments.points[..., ::-1] * (-1.0, 1.0)
    city = replace(city, segments=city.segments.with_points(turned))
    found = {}
    with ThreadPoolExecutor(1) as executor:
        for axis in ("x", "route"):
            parameters = replace(augment, transforms=replace(augment.transforms, axis=axis))
            found[axis] = augment_maps({"TOY": city}, parameters, HALF_WIDTH, executor)
    assert f"{len(found['x'].unbent())} augmented routes keep their shape" in describe(found["x"])
    assert len(found["route"].unbent()) < len(found["x"].unbent())
    assert "keep their shape" not in describe(found["route"])
    for scenes in found.values():
        for index in scenes.kept():
            scene = scenes[int(index)]
            if scene.lanes is None:
                continue
            original = joined_centreline(city.segments, scene.route_lanes)[0]
            moved = scene.transform.warp(original) - original
            keeps = np.ptp(np.hypot(*moved.T) * np.sign(moved @ (1.0, 1.0))) < 0.1
            assert (scene.scene_id in scenes.unbent()) == keeps
            starts = city.segments.points[scene.corridor, 0]
            np.testing.assert_allclose(scene.lanes.points[:, 0], scene.transform.warp(starts), atol=1e-3)


def test_a_route_that_returns_to_its_start_is_bent_along_its_street(augment):
    there = np.stack([np.full(61, 7.0), np.linspace(0.0, 300.0, 61)], axis=1)
    route = np.concatenate([there, there[::-1] + (4.0, 0.0)])
    parameters = replace(augment.transforms, axis="route")
    *_, transform = draw_transform(parameters, route, np.random.default_rng(0))
    assert np.ptp(transform.displacement(transform.along(route) - transform.anchor)) > 1.0


def test_saved_scenes_load_unchanged_and_damaged_file_is_refused(scenes, tmp_path):
    scenes.save(tmp_path)
    loaded = AugmentedScenes.load(tmp_path)
    assert loaded.manifest.equals(scenes.manifest)
    assert loaded.map_hashes == scenes.map_hashes
    assert loaded.half_width == HALF_WIDTH
    np.testing.assert_array_equal(loaded.centreline, scenes.centreline)
    np.testing.assert_array_equal(loaded.lanes.points, scenes.lanes.points)
    (tmp_path / "lanes.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="lanes.safetensors"):
        AugmentedScenes.load(tmp_path)


@pytest.mark.parametrize("metadata", [{}, {"origin": "{"}, {"origin": "[]"}, {"origin": '{"maps": {}}'}])
def test_scenes_that_do_not_say_from_which_maps_they_were_made_are_refused(scenes, tmp_path, metadata):
    scenes.save(tmp_path)
    arrays, _ = read_arrays(tmp_path / "scenes.safetensors")
    write_arrays(tmp_path / "scenes.safetensors", arrays, metadata)
    with pytest.raises(InputError, match=r"scenes\.safetensors: found metadata without the maps.*Run augment again"):
        AugmentedScenes.load(tmp_path)


def test_bytes_do_not_depend_on_the_number_of_workers(city, augment, tmp_path):
    cities = {"TOY": city, "ZOO": city}
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        with local_executor(workers) as executor:
            augment_maps(cities, augment, HALF_WIDTH, executor).save(tmp_path / str(workers))
    assert file_hash(tmp_path / "1") == file_hash(tmp_path / "2")


def test_a_dask_cluster_gives_the_same_bytes(city, augment, tmp_path):
    distributed = pytest.importorskip("distributed")
    cities = {"TOY": city, "ZOO": city}
    for name in ("local", "dask"):
        (tmp_path / name).mkdir()
    with local_executor(1) as executor:
        augment_maps(cities, augment, HALF_WIDTH, executor).save(tmp_path / "local")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        open_executor(cluster.scheduler_address) as executor,
    ):
        augment_maps(cities, augment, HALF_WIDTH, executor).save(tmp_path / "dask")
    assert file_hash(tmp_path / "local") == file_hash(tmp_path / "dask")


def test_route_with_too_tight_bend_is_dropped_and_counted(city, augment):
    augment.min_radius = 30.0  # the city's turn has 14 m
    with ThreadPoolExecutor(1) as executor:
        scenes = augment_maps({"TOY": city}, augment, HALF_WIDTH, executor)
    rows = scenes.manifest.to_pylist()
    dropped = [row for row in rows if row["status"] != KEPT]
    assert dropped
    assert all(row["min_radius"] < 30.0 for row in dropped)
    assert all(row["min_radius"] >= 30.0 for row in rows if row["status"] == KEPT)
    assert f"{len(dropped)} dropped: a bend tighter than 30 m" in describe(scenes)
