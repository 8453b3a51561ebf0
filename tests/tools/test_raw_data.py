"""Tests of raw data outside git: missing data are reported before anything runs; DVC provides them to experiments."""

import shutil
import subprocess

import pytest

from commands import dvc, git
from raw_data import write_raw
from repository import REPOSITORY
from synthdrive.core.errors import InputError
from tools.dvc_commands import locked_stages
from tools.raw_data import check_raw_data

RAW = "data/raw/argoverse1"
LOCK = "schema: '2.0'\nstages:\n  ingest:\n    cmd: ingest\n    deps:\n    - path: {raw}\n      md5: 0\n"


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "params.yaml").write_text(f"data:\n  source: argoverse1\n  raw: {RAW}\n")
    return tmp_path


def test_missing_tarballs_are_named_with_advice(checkout):
    with pytest.raises(InputError, match=r"no hd_maps\.tar\.gz, forecasting_train.*Put the official tarballs there"):
        check_raw_data(checkout)
    write_raw(checkout / RAW)
    assert f"dvc add {RAW}" in check_raw_data(checkout)
    next((checkout / RAW).glob("*val*")).rename(checkout / "elsewhere")
    with pytest.raises(InputError, match=r"found no forecasting_val_v1\.1\.tar\.gz; "):
        check_raw_data(checkout)


def test_data_from_the_lock_or_the_pipeline_itself_may_be_missing(checkout):
    (checkout / "dvc.lock").write_text(LOCK.format(raw=RAW))
    assert check_raw_data(checkout) is None
    (checkout / "dvc.lock").write_text(LOCK.format(raw="data/raw/sample"))
    with pytest.raises(InputError):
        check_raw_data(checkout)
    (checkout / "params.yaml").write_text("data:\n  source: sample\n  raw: data/raw/sample\n")
    assert check_raw_data(checkout) is None


@pytest.mark.parametrize("content", ["", "[]", "schema: '2.0'\n", "stages:\n", "stages: ["])
def test_a_damaged_lock_is_named(checkout, content):
    (checkout / "dvc.lock").write_text(content)
    with pytest.raises(InputError, match=r"(?s)dvc\.lock: found .*git checkout dvc\.lock"):
        check_raw_data(checkout)


def test_a_missing_lock_is_named_with_advice(checkout):
    with pytest.raises(InputError, match=r"dvc\.lock: found no such file.*Run from the repository's root"):
        locked_stages(checkout)


def test_a_wrong_or_missing_profile_lists_the_profiles():
    for name in ("", "NAME=papr"):
        done = subprocess.run(
            ["make", "profile", *filter(None, [name])], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode
        assert all(path.stem in done.stderr for path in (REPOSITORY / "profiles").glob("*.yaml"))


STAGE = """\
stages:
  ingest:
    cmd: wc -c < ${data.raw}/hd_maps.tar.gz > size.txt && echo ${seeds} >> size.txt
    params: [seeds]
    deps:
      - ${data.raw}
    outs: [size.txt: {cache: false}]
  record_sample:
    cmd: mkdir -p data/raw/sample && echo a > data/raw/sample/a
    outs: [data/raw/sample]
"""


@pytest.mark.timeout(120)
def test_a_queued_experiment_has_the_raw_data_that_dvc_tracks(checkout, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    write_raw(checkout / RAW)
    shutil.copy(REPOSITORY / ".gitignore", checkout)
    (checkout / "dvc.yaml").write_text(STAGE)
    with (checkout / "params.yaml").open("a") as parameters:
        parameters.write("seeds: 1\n")
    git(checkout, "init", "-q", "-b", "main")
    git(checkout, "config", "user.name", "test")
    git(checkout, "config", "user.email", "test@localhost")
    dvc(checkout, "init", "-q")
    dvc(checkout, "add", "-q", RAW)
    assert check_raw_data(checkout) is None
    dvc(checkout, "repro", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "Raw data")
    assert git(checkout, "ls-files", "data").split() == [f"{RAW}.dvc"]  # neither data nor DVC's .gitignore files
    dvc(checkout, "exp", "run", "--queue", "--name", "two", "--set-param", "seeds=2")
    dvc(checkout, "exp", "run", "--run-all")
    assert "Success" in dvc(checkout, "queue", "status")
    reference = next(
        ref for ref in git(checkout, "for-each-ref", "--format=%(refname)", "refs/exps").split() if "two" in ref
    )
    assert git(checkout, "show", f"{reference}:size.txt").split()[1] == "2"
