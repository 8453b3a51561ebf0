"""Tests of map import: every format becomes a usable lane map, and an invalid file writes nothing."""

import json
import runpy

import numpy as np
import pytest
from small_maps import DTD, fork, lanelet_street, osm, osm_crossing, sumo_crossing

from repository import PARAMS, REPOSITORY
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.core.artifacts import file_hash, read_table
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parameters import load_section
from synthdrive.ingestion.statistics import map_manifest
from synthdrive.map_import.import_map import import_map, write_map
from synthdrive.scenes.lane_map import NO_LANE, load_maps
from synthdrive.scenes.scene_store import SceneStore

PARAMETERS = load_section(RecordSampleParameters, "record_sample", PARAMS)


def imported(path, city="TST", **options):
    return import_map(path, city, PARAMETERS.map, PARAMETERS.streets, **options)


def argoverse2():
    def points(*places):
        return [{"x": x, "y": y, "z": 0.0} for x, y in places]

    def segment(number, y, kind="VEHICLE", **values):
        record = {
            "id": number, "lane_type": kind, "is_intersection": False, "predecessors": [], "successors": [],
            "left_neighbor_id": None, "right_neighbor_id": None,
            "left_lane_boundary": points((0, y + 2), (90, y + 2)),
            "right_lane_boundary": points((0, y - 2), (50, y - 2), (90, y - 2)),
        }  # fmt: skip
        return {**record, **values}

    segments = [
        segment(1, 0, left_neighbor_id=2, successors=[9, 77]),
        segment(2, 4, right_neighbor_id=1, left_neighbor_id=3),
        segment(3, 8, left_neighbor_id=2),  # oncoming: it does not name 2 as its right neighbour
        segment(4, -4, kind="BIKE"),
        segment(9, 0, predecessors=[1], centerline=points((90, 0), (130, 0))),
    ]
    return json.dumps({"lane_segments": {str(s["id"]): s for s in segments}}).encode()


def files(folder):
    """One map in each format."""
    return {
        "OpenDRIVE": fork(),
        "Lanelet2": osm(*lanelet_street()),
        "SUMO": sumo_crossing(folder / "sumo"),
        "OpenStreetMap": osm_crossing(),
        "Argoverse 2": argoverse2(),
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("maps"), {}
    for number, (kind, content) in enumerate(files(folder).items()):
        # The format is recognised by content, not by name; netconvert would split the name at the comma.
        paths[kind] = folder / f"map,{number}.xml"
        paths[kind].write_bytes(content)
    return paths


@pytest.fixture(scope="module")
def maps(sources):
    return {kind: imported(path) for kind, path in sources.items()}


KINDS = ["OpenDRIVE", "Lanelet2", "SUMO", "OpenStreetMap", "Argoverse 2"]


def check_consistent(lane_map):
    """Check properties of every lane map, whatever its format was."""
    table = map_manifest([lane_map])
    for column in ("finite", "successors_link_back", "neighbours_link_back"):
        assert np.all(table[column].to_numpy(zero_copy_only=False)), column
    assert table["successor_gap"].to_numpy().max() < 1e-6
    assert table["min_spacing"].to_numpy().min() > 0.01
    assert table["length"].to_numpy().max() < 60.0
    assert (table["length"].to_numpy() < 41.0).mean() > 0.9
    assert not set(lane_map.left[lane_map.left != NO_LANE]) & {
        row for row in range(len(lane_map)) if lane_map.right[row] == NO_LANE
    }
    ahead = lane_map.segments.points[:, 1] - lane_map.segments.points[:, 0]
    rows = np.flatnonzero(lane_map.left != NO_LANE)
    assert ((ahead[rows] * ahead[lane_map.left[rows]]).sum(axis=1) > 0).all()
    assert not (lane_map.segments.turn[~lane_map.segments.is_intersection]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_recognised_by_content_and_gives_a_consistent_map(maps, kind):
    assert maps[kind].kind == kind
    check_consistent(maps[kind].lane_map)
    assert maps[kind].summary()["links"] > 0


def test_crossing_has_neighbouring_lanes_turns_and_traffic_lights(maps):
    lane_map = maps["SUMO"].lane_map
    assert set(lane_map.segments.turn.tolist()) == {-1, 0, 1}
    assert lane_map.segments.has_traffic_control.any()
    across = lane_map.segments.points[lane_map.left, 0] - lane_map.segments.points[:, 0]
    ahead = lane_map.segments.points[:, 1] - lane_map.segments.points[:, 0]
    with_left = lane_map.left != NO_LANE
    assert with_left.any()
    assert ((ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0])[with_left] > 0).all()


@pytest.mark.parametrize("kind", ["SUMO", "OpenStreetMap"])
def test_left_hand_traffic_is_set_by_the_map_or_the_option(tmp_path, kind):
    path = tmp_path / "left.xml"
    path.write_bytes(sumo_crossing(tmp_path / "sumo", "--lefthand", "true") if kind == "SUMO" else osm_crossing())
    lane_map = imported(path, left_hand=kind == "OpenStreetMap").lane_map
    check_consistent(lane_map)
    middle = lane_map.segments.points[lane_map.segments.valid].mean(axis=0)
    start = lane_map.segments.points[:, 0] - middle
    ahead = lane_map.segments.points[:, 1] - lane_map.segments.points[:, 0]
    towards = (start * ahead).sum(axis=1) < 0
    outer = (np.linalg.norm(start, axis=1) > 40.0) & towards
    # For a driver who approaches the crossing, its middle is on the right.
    side = (-start[:, 1] * ahead[:, 0] + start[:, 0] * ahead[:, 1])[outer]
    assert outer.any()
    assert (side < 0).all()
    with_left = np.flatnonzero(lane_map.left != NO_LANE)
    across = lane_map.segments.points[lane_map.left[with_left], 0] - lane_map.segments.points[with_left, 0]
    assert (ahead[with_left, 0] * across[:, 1] - ahead[with_left, 1] * across[:, 0] > 0).all()


def test_lanes_of_argoverse_2(maps):
    found = maps["Argoverse 2"]
    assert found.left_out == {"lanes of type BIKE": 1, "links beyond the edge": 1}
    starts = {tuple(point) for point in found.lane_map.segments.points[:, 0].round(3).tolist()}
    assert {(0.0, 0.0), (0.0, 4.0), (0.0, 8.0), (90.0, 0.0)} <= starts
    row = int(np.flatnonzero((found.lane_map.segments.points[:, 0] == [0, 4]).all(axis=1))[0])
    assert found.lane_map.left[row] == NO_LANE
    assert found.lane_map.right[row] != NO_LANE


def test_folder_with_several_maps_does_not_depend_on_their_order(sources, tmp_path):
    def write(out, kinds):
        for kind in kinds:
            cities = write_map(out, imported(sources[kind], kind.replace(" ", "")))
        return cities

    names = sorted(kind.replace(" ", "") for kind in KINDS)
    assert write(tmp_path / "a", KINDS) == names
    write(tmp_path / "b", [*KINDS[::-1], KINDS[0]])
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b")
    written = load_maps(tmp_path / "a")
    assert list(written) == names
    assert read_table(tmp_path / "a" / "manifest.parquet").num_rows == sum(map(len, written.values()))


def test_folder_with_other_files_is_left_unchanged(maps, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="notes.txt"):
        write_map(tmp_path, maps["OpenDRIVE"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


NET = (
    b'<net version="1.20"><edge id="a" from="x" to="y">'
    b'<lane id="a_0" index="0" speed="9" length="9" shape="0,0 9,0"/></edge></net>'
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "another format"),
        (b"\x1f\x8b\x08", "Unpack"),
        (b"<kml/>", "another format"),
        (b"{}", "no lane_segments"),
        (b"[" * 100_000, "another format"),
        (b"{" + b'"a":{' * 100_000, "unreadable JSON"),
        (argoverse2().replace(b"130", b"NaN"), "lane segment 9, centerline.*not all of them numbers"),
        (DTD.encode() + NET, "document type"),
        (NET.replace(b"9,0", b"nan,0"), "line 1.*lane 'a_0' with shape 'nan'"),
        (NET.replace(b"<edge", b'<include href="/etc/passwd"/><edge'), "includes another file"),
        (NET, "netconvert stopped"),
        (NET[:60], "unreadable XML"),
        (osm({"1": ('lat="nan" lon="8"', {})}, {}, {}), "node '1' with lat 'nan'"),
        (NET.replace(b"9,0", b"9e6,0"), "reach over 9000 km"),
        (NET.replace(b"9,0", b"9"), "two coordinates"),
        (NET.replace(b"9,0", b"9,,0"), "shape ''"),
        (osm_crossing().replace(b'lat="52.0"', b'lat="1"', 1), "reach over 5[0-9]{3} km"),
        (osm_crossing().replace(b'v="2"', b'v="99999"'), "lanes '99999'.*at most 32"),
        (osm({"1": ('lat="1" lon="8"', {})}, {"w": (["1", "2"], {"highway": "path"})}, {}), "netconvert|no lane for"),
    ],
)
def test_invalid_map_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "my.map"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"my\.map.*({message})"):
        imported(path)
    assert [file.name for file in tmp_path.iterdir()] == ["my.map"]


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.osm"
    with path.open("wb") as stream:
        stream.truncate(1 << 34)
    with pytest.raises(InputError, match="17179869184 bytes"):
        imported(path)


def test_invalid_city_code_and_left_hand_option_are_refused(tmp_path):
    path = tmp_path / "a.xodr"
    path.write_bytes(fork())
    with pytest.raises(ParameterError, match="--city"):
        imported(path, "../x")
    with pytest.raises(ParameterError, match="--left-hand"):
        imported(path, left_hand=True)


@pytest.fixture
def run(monkeypatch, capsys):
    def run_stage(stage, *arguments):
        monkeypatch.chdir(REPOSITORY)
        monkeypatch.setattr("sys.argv", [stage, *map(str, arguments)])
        runpy.run_path(str(REPOSITORY / "stages" / f"{stage}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_stage


def test_synthetic_driving_from_an_imported_map(tmp_path, run):
    source, out = tmp_path / "my.xodr", tmp_path / "maps"
    source.write_bytes(fork())
    printed = run("import_map", "--in", source, "--city", "MYC", "--out", out, "--picture", tmp_path / "map.png")
    assert "MYC: OpenDRIVE" in printed
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    augmented, synthetic, common = tmp_path / "augmented", tmp_path / "synthetic", ("--workers", 1, "--maps", out)
    run("augment", *common, "--out", augmented)
    run("synthesize", *common, "--augmented", augmented, "--out", synthetic)
    store = SceneStore.load(synthetic)
    assert len(store) > 20
    assert set(store.cities) == {"MYC"}
    run("draw_map", "--maps", out, "--synthetic", synthetic, "--out", tmp_path / "drives.svg")
    assert "<svg" in (tmp_path / "drives.svg").read_text()


def test_refused_map_writes_nothing(tmp_path, run, capsys):
    (tmp_path / "bad.xodr").write_bytes(fork(other="404"))
    with pytest.raises(SystemExit) as ended:
        run("import_map", "--in", tmp_path / "bad.xodr", "--city", "MYC", "--out", tmp_path / "maps")
    assert ended.value.code == 2
    assert "bad.xodr" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


@pytest.mark.reference
def test_every_reference_map_can_be_imported(reference):
    paths = sorted(
        path for path in (reference / "othermaps").rglob("*.*") if path.suffix in (".xodr", ".osm", ".xml", ".json")
    )
    if not paths:
        pytest.skip("no maps in the reference data")
    for path in paths:
        found = imported(path)
        check_consistent(found.lane_map)
        assert found.summary()["kilometres"] > 0.5, path
