"""Tests of the scene reader: round trip with the writer, and refusal of invalid files with the row."""

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
    """Rows of a valid scene: AGENT whole, AV perhaps, others anyhow, tracks of a step in any order."""
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
def test_what_is_written_is_read(rows):
    scene = read_scene(scene_csv(rows), NAME)
    names = list(dict.fromkeys(rows.track_ids))
    kinds = {name: int(rows.track_types[rows.track_ids.index(name)]) for name in names}
    names.sort(key=lambda name: kinds[name])  # stable: others stay in the order of appearance
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


def lines(number=1):
    return scene_csv(scene_rows(number)).decode().splitlines()


def text(rows):
    return ("\n".join(rows) + "\n").encode()


def change(row, column, value):
    """The scene with another value in one row (the header is row 1) and column."""
    rows = lines()
    fields = rows[row - 1].split(",")
    fields[column] = value
    rows[row - 1] = ",".join(fields)
    return text(rows)


def agent_rows():
    return [k for k, row in enumerate(lines()) if ",AGENT," in row]


def without(dropped):
    return text([row for k, row in enumerate(lines()) if k not in dropped])


def retyped(old, new):
    return text(lines()).replace(old.encode(), new.encode())


BAD_SCENES = {
    "no bytes": (lambda: b"", r"row 1.*TIMESTAMP"),
    "only a header": (lambda: text(lines()[:1]), "no row|Empty"),
    "a missing column": (lambda: retyped(",CITY_NAME", ",CITY"), r"row 1.*0 columns 'CITY_NAME'"),
    "a column twice": (lambda: retyped("OBJECT_TYPE,X", "X,X"), r"row 1.*columns"),
    "an empty number": (lambda: change(7, 3, ""), r"row 7: found X nan; expected a finite number"),
    "NaN": (lambda: change(8, 4, "nan"), r"row 8: found Y nan"),
    "infinity": (lambda: change(9, 3, "inf"), r"row 9: found X inf"),
    "a time that is NaN": (lambda: change(9, 0, "NaN"), r"row 9: found TIMESTAMP nan"),
    "a word for a number": (lambda: change(9, 3, "east"), "east"),
    "a row too short": (lambda: text([*lines()[:5], "1,2,3", *lines()[5:]]), "unreadable CSV.*[Rr]ow"),
    "a row too long": (lambda: text([*lines()[:5], lines()[5] + ",1", *lines()[6:]]), "unreadable CSV"),
    "an unknown type": (lambda: change(6, 2, "TRAM"), r"row 6.*'TRAM'.*AGENT, AV, OTHERS"),
    "another city": (lambda: change(6, 5, "MIA"), r"row 6: found cities 'TST' and 'MIA'"),
    "49 rows of AGENT": (
        lambda: without({agent_rows()[30]}),
        r"AGENT agent-1: found 49 rows, none at 1003.0 s; expected exactly 50",
    ),
    "51 time stamps": (lambda: change(agent_rows()[3] + 1, 0, "1000.05"), "51 time stamps; expected 50"),
    "49 time stamps": (lambda: text([r for r in lines() if not r.startswith("1004.9")]), "49 time stamps"),
    "no AGENT": (lambda: retyped(",AGENT,", ",OTHERS,"), "0 tracks of type AGENT; expected one"),
    "two AGENTs": (lambda: retyped(",AV,", ",AGENT,"), "2 tracks of type AGENT"),
    "two AVs": (lambda: retyped("OTHERS", "AV"), "3 tracks of type AV; expected at most one"),
    "a track of two types": (lambda: change(agent_rows()[9] + 1, 2, "AV"), r"row \d+: found track .* several types"),
    "a row twice": (
        lambda: text([*lines(), [row for row in lines() if ",AV," in row][-1]]),
        r"row \d+: found track 'av' at 1004.9 s again",
    ),
    "a row twice, out of order": (
        lambda: text([lines()[0], *reversed(lines()[1:]), [row for row in lines() if ",AV," in row][-1]]),
        rf"row {len(lines()) + 1}: found track 'av' at 1004.9 s again",
    ),
    "a track at the pole": (lambda: change(3, 4, "9000000"), r"row 3: found a point \d+ m from AGENT"),
    "no text": (lambda: b"\xff\xfe\x00" * 300, "row 1"),
    "a bad byte in a row": (lambda: text(lines()).replace(b"agent-1", b"agent\xff1", 1), "unreadable CSV"),
    "an open quote": (lambda: change(5, 1, '"av'), "unreadable CSV.*[Rr]ow"),
}


@pytest.mark.parametrize("name", BAD_SCENES)
def test_a_bad_scene_names_file_row_and_what_was_expected(name):
    content, words = BAD_SCENES[name]
    with pytest.raises(InputError, match=words) as caught:
        read_scene(content(), NAME)
    assert NAME in str(caught.value)
    assert "expected" in str(caught.value)


def test_columns_are_found_by_name_and_others_passed_over():
    rows = [row.split(",") for row in lines()]
    shuffled = [[row[5], "0", row[3], row[4], row[2], row[1], row[0]] for row in rows]
    shuffled[0][1] = "REF_xmin"
    scene, expected = read_scene(text([",".join(row) for row in shuffled]), NAME), read_scene(text(lines()), NAME)
    np.testing.assert_array_equal(scene.xy, expected.xy)
    np.testing.assert_array_equal(scene.times, expected.times)


@pytest.mark.parametrize("change_text", [lambda t: t.replace(b"\n", b"\r\n"), lambda t: b"\xef\xbb\xbf" + t])
def test_other_line_ends_and_a_byte_order_mark_do_no_harm(change_text):
    scene, expected = read_scene(change_text(text(lines())), NAME), read_scene(text(lines()), NAME)
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
    """As R and pandas write text."""
    assert_same(read_scene(text(list(map(QUOTED[name], lines()))), NAME), read_scene(text(lines()), NAME))


ORDERS = {
    "by track": lambda rows: sorted(rows, key=lambda row: row.split(",")[1]),
    "by track, backwards in time": lambda rows: sorted(rows, key=lambda row: row.split(",")[1])[::-1],
    "backwards": lambda rows: rows[::-1],
    "shuffled": lambda rows: [rows[k] for k in np.random.default_rng(0).permutation(len(rows))],
}


@pytest.mark.parametrize("name", ORDERS)
def test_rows_in_another_order_give_the_same_tracks(name):
    header, *rows = lines()
    expected, scene = read_scene(text(lines()), NAME), read_scene(text([header, *ORDERS[name](rows)]), NAME)
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


def test_a_bad_row_out_of_order_is_named_by_its_place_in_the_file():
    rows = lines()[:1] + lines()[:0:-1]
    fields = rows[4].split(",")
    rows[4] = ",".join([*fields[:4], "9000000", fields[5]])
    with pytest.raises(InputError, match="row 5: found a point"):
        read_scene(text(rows), NAME)


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
def test_an_absurd_table_is_refused_quickly(content):
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        read_scene(content, NAME)
    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 1000


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=4))
def test_any_damage_gives_a_scene_or_an_error(position, junk):
    content = bytearray(text(lines()))
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
def test_golden_scenes_have_their_origin_and_tracks(reference):
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
