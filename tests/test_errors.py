import pickle

import pytest

from synthdrive.errors import InputError, ParameterError, exit_on_error


@pytest.mark.parametrize("kind", [InputError, ParameterError])
def test_an_error_survives_the_way_back_from_a_worker(kind):
    error = kind("maps.xml: lane 7", "successor 9", "a lane of the map", "Check the file.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "maps.xml: lane 7: found successor 9; expected a lane of the map. Check the file."


def test_a_users_error_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.delenv("SYNTHDRIVE_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise InputError("a.csv", "49 rows", "50 rows")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a.csv: found 49 rows; expected 50 rows\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_error():
        1 / 0  # noqa: B018
