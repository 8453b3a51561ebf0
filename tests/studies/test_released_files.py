"""Tests of reading released windows."""

import numpy as np
import pytest
from released_drives import read_released

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
    path.write_text(content)
    return read_released(path)


def test_a_window_has_its_track_and_its_transform(tmp_path):
    drive = read(tmp_path, window())
    assert (drive.city, drive.desired_speed) == ("MIA", 12.5)
    np.testing.assert_array_equal(drive.xy, [[100 + step, -5.5] for step in range(STEPS)])
    assert drive.transform is not None
    assert read(tmp_path, window().replace("REF_xmin", "REF")).transform is None


def test_a_file_that_is_no_released_window_is_refused_with_its_name(tmp_path):
    for content, words in (
        (window(X="east"), "east"),
        (window(AUGMENT_TYPE="7"), "an unreadable value"),
        (window().replace(",Y,", ",Z,"), "an unreadable value"),
        ("\n".join(window().splitlines()[:-1]), "49 rows"),
    ):
        with pytest.raises(InputError, match=f"{NAME}.*{words}"):
            read(tmp_path, content)
    with pytest.raises(InputError, match="dv<desired speed>"):
        read(tmp_path, window(), "window.csv")
