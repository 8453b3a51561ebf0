"""Tests of reading released windows, and of refusing other files by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.released_drives.drives import read_released
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1

STEPS = ARGOVERSE1.steps

NAME = "augmap_dv12.5MIA_3_id_1_xmin.csv"
HEADER = "TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME,REF_xmin,AUGMENT_TYPE,AUGMENT_DIRECTION,ATTACK_POWER_TYPE"


def window(**changes):
    """The text of a window file; `changes` replace values by column in its first row."""
    rows = [HEADER]
    for step in range(STEPS):
        row = dict.fromkeys(HEADER.split(","), "0") | {"X": str(100 + step), "Y": "-5.5", "CITY_NAME": "MIA"}
        row |= {"REF_xmin": "90", "AUGMENT_TYPE": "1", "AUGMENT_DIRECTION": "1", "ATTACK_POWER_TYPE": "6"}
        rows.append(",".join({**row, **(changes if step == 0 else {})}.values()))
    return "\n".join(rows) + "\n"


def read(folder, content, name=NAME):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_released(path)


def test_a_window_has_its_track_and_its_transform(tmp_path):
    drive = read(tmp_path, window())
    assert (drive.city, drive.desired_speed) == ("MIA", 12.5)
    np.testing.assert_array_equal(drive.xy, [[100 + step, -5.5] for step in range(STEPS)])
    assert drive.transform is not None
    assert read(tmp_path, window().replace("REF_xmin", "REF")).transform is None


INVALID = {
    "a word for a number": (window(X="east"), "east"),
    "a position that is NaN": (window(Y="nan"), "NaN or infinite"),
    "an unknown kind of warp": (window(AUGMENT_TYPE="7"), "an unreadable value"),
    "a negative kind of warp": (window(AUGMENT_TYPE="-1"), "an unreadable value"),
    "an endless kind of warp": (window(AUGMENT_TYPE="inf"), "an unreadable value"),
    "rows cut short": (window().replace(",-5.5,MIA,90,1,1,6", "", 1), "an unreadable value"),
    "rows missing": ("\n".join(window().splitlines()[:-1]), "49 rows"),
    "a column missing": (window().replace(",Y,", ",Z,"), "a column Y"),
    "no text": (b"\xff\xfe" * 99, "unreadable CSV"),
    "a field of a quarter megabyte": (window(TRACK_ID="x" * 250_000), "unreadable CSV"),
    "two megabytes": (b"," * (2 << 20), "at most"),
    "nothing": (b"", "a column TIMESTAMP"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_window_is_refused_with_its_name(tmp_path, name):
    content, words = INVALID[name]
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, content)
    assert NAME in str(caught.value)


def test_a_missing_file_and_a_name_without_a_speed_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_released(tmp_path / NAME)
    with pytest.raises(InputError, match="dv<desired speed>"):
        read(tmp_path, window(), "window.csv")


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=4))
def test_changed_bytes_give_a_valid_window_or_an_input_error(tmp_path_factory, position, junk):
    content = bytearray(window().encode())
    start = position % len(content)
    content[start : start + len(junk)] = junk
    try:
        drive = read(tmp_path_factory.mktemp("released"), bytes(content))
    except InputError:
        return
    assert np.isfinite(drive.xy).all()
    assert drive.xy.shape == (STEPS, 2)
