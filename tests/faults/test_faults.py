"""Fault injection: one stage survives most kinds of fault (seconds), every stage survives all kinds (minutes, slow)."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import smallest_pipeline as smallest
from campaign import KINDS, REFUSED, STAGES, make_plan, reason_to_skip, run_campaign, small_disk, undisturbed
from damage import DAMAGES, run_damage

from raw_data import write_raw

OUTPUTS = ("maps", "train", "val")
QUICK = [name for name in KINDS if name not in ("kill -9, early", "dvc repro twice", "clock jump")]


def ingest(folder: Path, raw: Path, plan: Path | None) -> smallest.Ended:
    """Run the ingest script as DVC would; it has several outputs, uses worker processes, and takes little time."""
    command = [sys.executable, str(smallest.REPOSITORY / "stages" / "ingest.py"), "--raw", str(raw)]
    command += ["--maps-out", "maps", "--train-out", "train", "--val-out", "val"]
    command += ["--params", str(smallest.REPOSITORY / "params.yaml")]
    return smallest.run(command, folder, **({"SYNTHDRIVE_FAULT": str(plan)} if plan else {}))


def results(folder: Path) -> dict[str, dict[str, str]]:
    return {name: smallest.fingerprints(folder, name) for name in OUTPUTS if (folder / name).exists()}


@pytest.fixture(scope="module")
def undisturbed_ingest(tmp_path_factory):
    """The raw data, the results of an undisturbed ingest, and its number of actions."""
    base = tmp_path_factory.mktemp("whole")
    raw, folder = write_raw(base / "raw"), base / "work"
    folder.mkdir()
    plan = make_plan(folder, "none", {})
    assert ingest(folder, raw, plan).status == 0
    return raw, results(folder), len(json.loads((plan.parent / "ingest.actions").read_text()))


@pytest.mark.parametrize("name", QUICK)
def test_ingest_survives_fault(name, undisturbed_ingest, tmp_path_factory):
    kind = KINDS[name]
    if reason := reason_to_skip(kind):
        pytest.skip(reason)
    raw, expected, actions = undisturbed_ingest
    folder = tmp_path_factory.mktemp("f") / "work"  # a short path, because worker processes bind sockets there
    folder.mkdir()
    with small_disk(folder) if kind.action == "disk" else nullcontext():
        plan = make_plan(folder, kind.action, {"ingest": {"action": round(0.6 * actions), "delay": 0.0}})
        ended = ingest(folder, raw, plan)
        assert (plan.parent / "ingest.fired").exists()
        assert all(found == expected[output] for output, found in results(folder).items())
        assert ended.orphans == []
        assert "Traceback" not in ended.output
        if kind.ends_stage:
            assert ended.status != 0
            assert results(folder) != expected
        if kind.ends_stage and kind.message and kind.action != "kill_stage":
            assert re.search(kind.message, " ".join(ended.output.split()))
        if kind.clean:
            assert smallest.partials(folder) == []
        if kind.action == "same_stage":
            assert re.search(REFUSED, (plan.parent / "ingest.other").read_text())
        (folder / "filler").unlink(missing_ok=True)
        if ended.status:
            assert ingest(folder, raw, None).status == 0
        assert results(folder) == expected
        assert smallest.partials(folder) == []


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    base = tmp_path_factory.mktemp("faults")
    return base, undisturbed(base)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", KINDS)
def test_every_stage_survives_fault(name, reference):
    if reason := reason_to_skip(KINDS[name]):
        pytest.skip(reason)
    base, undisturbed_run = reference
    outcomes = run_campaign(KINDS[name], undisturbed_run, base, 1, STAGES)
    assert len(outcomes) == len(STAGES)
    assert {f"{outcome.stage}: {problem}" for outcome in outcomes for problem in outcome.problems} == set()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_every_output_is_repaired(name, reference):
    base, undisturbed_run = reference
    outcomes = run_damage(name, undisturbed_run, base, 1, STAGES)
    assert {f"{outcome.stage}: {problem}" for outcome in outcomes for problem in outcome.problems} == set()
