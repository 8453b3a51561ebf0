"""Tests of the export to the Argoverse 1 layout, read back by ingest."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from argoverse2_data import map_json, scenario_id, scenario_pair, segment, write_split
from repository import PARAMS
from synthdrive.config.data import IngestParameters
from synthdrive.core.parameters import load_section
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.argoverse1_writers import export_scenes
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.ingestion.argoverse2 import ingest_scenarios
from synthdrive.scenes.scene_store import AGENT, SceneStore
from synthdrive.synthesis.synthesize import synthesize


def tracks(scene):
    """All tracks with their types, in an order that does not depend on the order in the scene."""
    found = [(int(kind), np.asarray(scene.track(row))) for row, kind in enumerate(scene.track_types)]
    return sorted(found, key=lambda item: (item[0], len(item[1]), item[1][0].tolist()))


@pytest.mark.parametrize("background_agents", [0, 2])
def test_ingest_reads_back_what_export_wrote(maps, scenes, parameters, tmp_path, background_agents):
    parameters.background_agents.count = background_agents
    parameters.windows.stride = 10.0
    for name in ("synthetic", "raw"):
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor(1) as executor:
        synthesize(maps, scenes, parameters, 50.0, ARGOVERSE1, executor, tmp_path / "synthetic")
    store = SceneStore.load(tmp_path / "synthetic")
    assert export_scenes(store, tmp_path / "raw") == len(store)
    ingest = load_section(IngestParameters, "ingest", PARAMS)
    ingest_maps(tmp_path / "raw", tmp_path / "maps", ingest)
    ingest_scenes(tmp_path / "raw", {"train": tmp_path / "train"}, tmp_path / "maps", ingest, 50.0, 1)
    ingested = SceneStore.load(tmp_path / "train")
    assert sorted(ingested.scene_ids) == sorted(store.scene_ids)
    for index, name in enumerate(store.scene_ids):
        before, after = store[index], ingested[ingested.scene_ids.index(name)]
        np.testing.assert_allclose(after.origin, before.origin, atol=1e-9)
        assert after.track_types[0] == before.track_types[0] == AGENT
        # Files have millimetre precision and are sorted by step, so tracks that begin later come later.
        for (kind, track), (kind_before, track_before) in zip(tracks(after), tracks(before), strict=True):
            assert kind == kind_before
            np.testing.assert_allclose(track, track_before, atol=1.1e-3 if background_agents else 1e-4)
        crops = [s.lanes.take(scene.lane_rows) for s, scene in ((store, before), (ingested, after))]
        order = [np.argsort(crop.lane_ids) for crop in crops]
        np.testing.assert_array_equal(crops[0].lane_ids[order[0]], crops[1].lane_ids[order[1]])
        np.testing.assert_array_equal(crops[0].points[order[0]], crops[1].points[order[1]])


def test_scenes_with_overlapping_maps_of_their_own_keep_their_lanes(tmp_path):
    ingest = load_section(IngestParameters, "ingest", PARAMS)
    files = {name: content for number in range(3) for name, content in scenario_pair(number, city="palo-alto").items()}
    name = scenario_id(2)
    files[f"{name}/log_map_archive_{name}.json"] = map_json({"90": segment(90, [(990.0, 50.0), (1080.0, 50.0)])})
    write_split(tmp_path / "train.tar", files)
    ingest_scenarios(tmp_path, {"train": tmp_path / "before"}, ingest, 50.0, ARGOVERSE1, 1)
    (tmp_path / "raw").mkdir()
    export_scenes(SceneStore.load(tmp_path / "before"), tmp_path / "raw")
    ingest_maps(tmp_path / "raw", tmp_path / "maps", ingest)
    ingest_scenes(tmp_path / "raw", {"train": tmp_path / "after"}, tmp_path / "maps", ingest, 50.0, 1)
    before, after = (SceneStore.load(tmp_path / name) for name in ("before", "after"))
    assert after.scene_ids == before.scene_ids
    assert after.manifest["n_lanes"].to_pylist() == before.manifest["n_lanes"].to_pylist() == [4, 4, 1]
