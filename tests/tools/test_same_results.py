"""Tests of comparing the results of two checkouts."""

import json

import pytest
import yaml

from synthdrive.core.errors import InputError
from tools.same_results import compare_locks, same_results
from tools.verify import Verdict


@pytest.fixture
def checkouts(tmp_path):
    """Two checkouts with the same results: one data stage and one variant."""
    parameters = {"verify": {"spot_stages": ["ingest"], "tolerances": {"minFDE6": 0.1}}}
    outs = {"ingest": {"path": "data/maps", "md5": "a" * 32}, "evaluate@none-0": {"path": "metrics/none-0.json"}}
    lock = {"stages": {name: {"outs": [out]} for name, out in outs.items()}}
    for name in ("inside", "outside"):
        (tmp_path / name / "metrics").mkdir(parents=True)
        (tmp_path / name / "params.yaml").write_text(yaml.safe_dump(parameters))
        (tmp_path / name / "dvc.lock").write_text(yaml.safe_dump(lock))
        (tmp_path / name / "metrics" / "none-0.json").write_text(json.dumps({"minFDE6": 1.5}))
    return tmp_path / "inside", tmp_path / "outside"


def failures(inside, outside):
    verdict = Verdict()
    same_results(inside, outside, verdict)
    assert verdict.comparisons == 3
    return verdict.failures


def test_equal_results_agree(checkouts):
    assert failures(*checkouts) == 0


def test_other_hashes_of_data_are_reported(checkouts, capsys):
    path = checkouts[0] / "dvc.lock"
    path.write_text(path.read_text().replace("a" * 32, "b" * 32))
    assert failures(*checkouts) == 2
    assert f"data/maps: recorded {'a' * 32}, made {'b' * 32}" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "expected"), [(1.55, 0), (1.65, 1), (float("nan"), 1)])
def test_metrics_are_compared_within_their_tolerance(checkouts, value, expected):
    (checkouts[0] / "metrics" / "none-0.json").write_text(json.dumps({"minFDE6": value}))
    assert failures(*checkouts) == expected


def test_missing_metrics_are_an_error(checkouts):
    (checkouts[1] / "metrics" / "none-0.json").unlink()
    with pytest.raises(InputError, match="no metrics"):
        same_results(*checkouts, Verdict())


def test_a_data_stage_that_the_other_checkout_lacks_is_an_error(checkouts):
    (checkouts[1] / "dvc.lock").write_text("stages: {evaluate: {outs: [{path: metrics/none-0.json}]}}")
    with pytest.raises(InputError, match="no ingest"):
        same_results(*checkouts, Verdict())


TRAINED = {"path": "models/none-0", "md5": "c" * 32}
LOCK = {
    "ingest": {"cmd": "ingest", "params": {"params.yaml": {"data": 1}}, "outs": [{"path": "data", "md5": "a" * 32}]},
    "finetune@none-0": {"cmd": "finetune", "deps": [{"path": "data", "md5": "a" * 32}], "outs": [TRAINED]},
    "report": {"cmd": "report", "deps": [{"path": "models", "md5": "d" * 32}]},
}


@pytest.mark.parametrize(
    ("old", "new", "problems", "explained"),
    [
        ("c" * 32, "e" * 32, 0, 1),
        ("d" * 32, "e" * 32, 0, 1),
        ("a" * 32, "e" * 32, 2, 0),
        ('finetune"', 'finetune --other"', 1, 0),
        ('"data": 1', '"data": 2', 1, 0),
        ("report", "repot", 4, 0),
    ],
)
def test_only_hashes_of_trained_artifacts_may_differ(old, new, problems, explained, capsys):
    made = json.loads(json.dumps(LOCK).replace(old, new))
    compare_locks(made, LOCK, ["ingest"], verdict := Verdict())
    assert verdict.failures == problems
    assert f"dvc.lock: {explained} hashes differ" in capsys.readouterr().out
