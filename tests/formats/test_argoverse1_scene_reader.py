"""Tests of the scene reader: round trip with the writer, and errors that name the row of an invalid file."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import scene_rows
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_scene_reader import read_scene, scene_files
from synthdrive.formats.argoverse1_writers import SceneRows, scene_csv
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

NAME = "train/data/17.csv"


@st.composite
def scenes(draw):
    """Draw rows of a valid scene: a complete AGENT, perhaps an AV, incomplete others; random order within a step."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    times = draw(st.sampled_from([0.0, 315968995.26471])) + np.cumsum(generator.uniform(0.01, 0.5, STEPS))
    tracks = [("agent", AGENT, np.arange(STEPS))]
    if draw(st.booleans()):
        tracks.append(("av", AV, np.flatnonzero(generator.random(STEPS) < 0.9)))
    tracks += [(f"o{k}", OTHERS, np.flatnonzero(generator.random(STEPS) < 0.4)) for k in range(draw(st.integers(0, 5)))]
    centre = generator.uniform(-5000, 5000, 2)
    rows = [(times[step], name, kind) for name, kind, steps in tracks for step in steps]
    rows = [rows[k] for k in sorted(range(len(rows)), key=lambda k: (rows[k][0], generator.random()))]
    return SceneRows(
        timestamps=np.array([row[0] for row in rows]),
        track_ids=[row[1] for row in rows],
        track_types=np.array([row[2] for row in rows], dtype=np.uint8),
        xy=np.round(centre + generator.uniform(-150, 150, (len(rows), 2)), 3),
        city="TST",
    )


@settings(max_examples=80, deadline=None)
@given(rows=scenes())
def test_written_scene_is_read_back(rows):
    scene = read_scene(scene_csv(rows), NAME)
    names = list(dict.fromkeys(rows.track_ids))
    kinds = {name: int(rows.track_types[rows.track_ids.index(name)]) for name in names}
    names.sort(key=lambda name: kinds[name])  # stable: OTHERS stay in order of appearance
    assert scene.scene_id == "17"
    assert scene.city == "TST"
    assert scene.track_types.tolist() == [kinds[name] for name in names]
    times = np.round(np.unique(rows.timestamps), 7)
    np.testing.assert_allclose(scene.start_time + scene.times, times, rtol=0, atol=1e-6)
    start = 0
    for name, length in zip(names, scene.track_lengths, strict=True):
        own = np.array([row == name for row in rows.track_ids])
        assert length == own.sum()
        piece = slice(start, start + length)
        np.testing.assert_allclose(scene.xy[piece] + scene.origin, rows.xy[own], rtol=0, atol=1e-4)
        np.testing.assert_allclose(times[scene.step[piece]], rows.timestamps[own], rtol=0, atol=1e-6)
        start += length
    assert start == len(scene.xy)
    np.testing.assert_array_equal(scene.xy[LAST_OBSERVED], [0, 0])


def csv_lines(number=1):
    return scene_csv(scene_rows(number)).decode().splitlines()


def as_csv(rows):
    return ("\n".join(rows) + "\n").encode()


def with_value(row, column, value):
    """Return the scene with one value replaced; the header is row 1, the first column 0."""
    rows = csv_lines()
    fields = rows[row - 1].split(",")
    fields[column] = value
    rows[row - 1] = ",".join(fields)
    return as_csv(rows)


def agent_rows():
    return [k for k, row in enumerate(csv_lines()) if ",AGENT," in row]


def without_rows(dropped):
    return as_csv([row for k, row in enumerate(csv_lines()) if k not in dropped])


def replaced(old, new):
    return as_csv(csv_lines()).replace(old.encode(), new.encode())


BAD_SCENES = {
    "an empty file": (lambda: b"", r"row 1.*TIMESTAMP"),
    "only a header": (lambda: as_csv(csv_lines()[:1]), "no row|Empty"),
    "a missing column": (lambda: replaced(",CITY_NAME", ",CITY"), r"row 1.*0 columns 'CITY_NAME'"),
    "a repeated column": (lambda: replaced("OBJECT_TYPE,X", "X,X"), r"row 1.*columns"),
    "an empty number": (lambda: with_value(7, 3, ""), r"row 7: found X nan; expected a finite number"),
    "NaN": (lambda: with_value(8, 4, "nan"), r"row 8: found Y nan"),
    "infinity": (lambda: with_value(9, 3, "inf"), r"row 9: found X inf"),
    "a time that is NaN": (lambda: with_value(9, 0, "NaN"), r"row 9: found TIMESTAMP nan"),
    "a word instead of a number": (lambda: with_value(9, 3, "east"), "east"),
    "a row too short": (lambda: as_csv([*csv_lines()[:5], "1,2,3", *csv_lines()[5:]]), "unreadable CSV.*[Rr]ow"),
    "a row too long": (lambda: as_csv([*csv_lines()[:5], csv_lines()[5] + ",1", *csv_lines()[6:]]), "unreadable CSV"),
    "an unknown type": (lambda: with_value(6, 2, "TRAM"), r"row 6.*'TRAM'.*AGENT, AV, OTHERS"),
    "another city": (lambda: with_value(6, 5, "MIA"), r"row 6: found cities 'TST' and 'MIA'"),
    "49 rows of AGENT": (
        lambda: without_rows({agent_rows()[30]}),
        r"AGENT agent-1: found 49 rows, none at 1003.0 s; expected exactly 50",
    ),
    "51 time stamps": (lambda: with_value(agent_rows()[3] + 1, 0, "1000.05"), "51 time stamps; expected 50"),
    "49 time stamps": (lambda: as_csv([r for r in csv_lines() if not r.startswith("1004.9")]), "49 time stamps"),
    "no AGENT": (lambda: replaced(",AGENT,", ",OTHERS,"), "0 tracks of type AGENT; expected one"),
    "two AGENTs": (lambda: replaced(",AV,", ",AGENT,"), "2 tracks of type AGENT"),
    "two AVs": (lambda: replaced("OTHERS", "AV"), "3 tracks of type AV; expected at most one"),
    "a track of two types": (
        lambda: with_value(agent_rows()[9] + 1, 2, "AV"),
        r"row \d+: found track .* several types",
    ),
    "a repeated row": (
        lambda: as_csv([*csv_lines(), [row for row in csv_lines() if ",AV," in row][-1]]),
        r"row \d+: found track 'av' at 1004.9 s again",
    ),
    "a repeated row in unsorted rows": (
        lambda: as_csv([csv_lines()[0], *reversed(csv_lines()[1:]), [row for row in csv_lines() if ",AV," in row][-1]]),
        rf"row {len(csv_lines()) + 1}: found track 'av' at 1004.9 s again",
    ),
    "a point far away": (lambda: with_value(3, 4, "9000000"), r"row 3: found a point \d+ m from AGENT"),
    "binary data": (lambda: b"\xff\xfe\x00" * 300, "row 1"),
    "a bad byte in a row": (lambda: as_csv(csv_lines()).replace(b"agent-1", b"agent\xff1", 1), "unreadable CSV"),
    "an open quote": (lambda: with_value(5, 1, '"av'), "unreadable CSV.*[Rr]ow"),
}


@pytest.mark.parametrize("name", BAD_SCENES)
def test_error_in_a_scene_names_file_row_and_expected_value(name):
    content, message = BAD_SCENES[name]
    with pytest.raises(InputError, match=message) as caught:
        read_scene(content(), NAME)
    assert NAME in str(caught.value)
    assert "expected" in str(caught.value)


def test_columns_are_found_by_name_and_other_columns_are_ignored():
    rows = [row.split(",") for row in csv_lines()]
    shuffled = [[row[5], "0", row[3], row[4], row[2], row[1], row[0]] for row in rows]
    shuffled[0][1] = "REF_xmin"
    scene, expected = (
        read_scene(as_csv([",".join(row) for row in shuffled]), NAME),
        read_scene(as_csv(csv_lines()), NAME),
    )
    np.testing.assert_array_equal(scene.xy, expected.xy)
    np.testing.assert_array_equal(scene.times, expected.times)


@pytest.mark.parametrize("change_text", [lambda t: t.replace(b"\n", b"\r\n"), lambda t: b"\xef\xbb\xbf" + t])
def test_windows_line_ends_and_a_byte_order_mark_are_accepted(change_text):
    scene, expected = read_scene(change_text(as_csv(csv_lines())), NAME), read_scene(as_csv(csv_lines()), NAME)
    np.testing.assert_array_equal(scene.xy, expected.xy)
    assert scene.city == expected.city


def assert_same(scene, expected):
    for name in ("xy", "step", "track_lengths", "track_types", "times", "origin"):
        np.testing.assert_array_equal(getattr(scene, name), getattr(expected, name))
    assert (scene.city, scene.start_time) == (expected.city, expected.start_time)


QUOTED = {
    "text": lambda row: ",".join(field if field[0].isdigit() else f'"{field}"' for field in row.split(",")),
    "everything": lambda row: ",".join(f'"{field}"' for field in row.split(",")),
    "one value": lambda row: row.replace(",AV,", ',"AV",'),
}


@pytest.mark.parametrize("name", QUOTED)
def test_values_in_quotes_are_read(name):
    """R and pandas can write text in quotes."""
    assert_same(read_scene(as_csv(list(map(QUOTED[name], csv_lines()))), NAME), read_scene(as_csv(csv_lines()), NAME))


ORDERS = {
    "by track": lambda rows: sorted(rows, key=lambda row: row.split(",")[1]),
    "by track, backwards in time": lambda rows: sorted(rows, key=lambda row: row.split(",")[1])[::-1],
    "backwards": lambda rows: rows[::-1],
    "shuffled": lambda rows: [rows[k] for k in np.random.default_rng(0).permutation(len(rows))],
}


@pytest.mark.parametrize("name", ORDERS)
def test_rows_in_another_order_give_the_same_tracks(name):
    header, *rows = csv_lines()
    expected, scene = read_scene(as_csv(csv_lines()), NAME), read_scene(as_csv([header, *ORDERS[name](rows)]), NAME)
    assert scene.track_types.tolist() == expected.track_types.tolist()
    np.testing.assert_array_equal(scene.origin, expected.origin)

    def tracks(given):
        ends = np.cumsum(given.track_lengths)
        return sorted(
            (given.step[end - size : end].tolist(), given.xy[end - size : end].tolist())
            for end, size in zip(ends, given.track_lengths, strict=True)
        )

    assert tracks(scene) == tracks(expected)
    np.testing.assert_array_equal(scene.xy[:STEPS], expected.xy[:STEPS])  # AGENT first


def test_error_in_unsorted_rows_names_the_row_of_the_file():
    rows = csv_lines()[:1] + csv_lines()[:0:-1]
    fields = rows[4].split(",")
    rows[4] = ",".join([*fields[:4], "9000000", fields[5]])
    with pytest.raises(InputError, match="row 5: found a point"):
        read_scene(as_csv(rows), NAME)


@pytest.mark.parametrize(
    "content",
    [
        b'TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME\n1,"' + b"x\n" * 15_000_000,
        b"," * 30_000_000,
        b"TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME" + b"," * 30_000_000 + b"\n1\n",
        b"TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME\n" + b"1," * 15_000_000 + b"\n",
        b"TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME\n1,a,AGENT,1,1," + b"x" * 30_000_000 + b"\n",
    ],
)
def test_huge_table_is_refused_quickly(content):
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        read_scene(content, NAME)
    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 1000


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=4))
def test_damaged_scene_is_read_or_refused(position, junk):
    content = bytearray(as_csv(csv_lines()))
    start = position % len(content)
    content[start : start + len(junk)] = junk
    try:
        scene = read_scene(bytes(content), NAME)
    except InputError:
        return
    assert np.isfinite(scene.xy).all()
    assert scene.track_lengths[0] == STEPS


def test_a_source_without_scenes_is_an_error(tmp_path):
    (tmp_path / "readme.txt").write_text("none")
    with pytest.raises(InputError, match="no scene"):
        list(scene_files(tmp_path, Limits(10**6, 10**6)))


@pytest.mark.reference
def test_golden_scenes_have_the_reference_origin_and_future(reference):
    golden = np.load(reference / "golden" / "features.npz")
    wanted = {str(name) for name in golden["scene_ids"]}
    archive = reference / "argoverse1" / "forecasting_train_v1.1.tar.gz"
    found = 0
    for name, content in scene_files(archive, Limits(10**8, 10**11)):
        scene_id = name.rpartition("/")[2].removesuffix(".csv")
        if scene_id in wanted:
            scene = read_scene(content, name)
            np.testing.assert_allclose(scene.origin, golden[f"{scene_id}/origin"], rtol=0, atol=1e-9)
            assert scene.city == str(golden[f"{scene_id}/city"])
            agent = scene.xy[:STEPS].astype(np.float64)
            angle = float(golden[f"{scene_id}/angle"])
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            np.testing.assert_allclose((agent @ turn.T)[LAST_OBSERVED + 1 :], golden[f"{scene_id}/labels"], atol=1e-4)
            found += 1
    assert found == len(wanted)
