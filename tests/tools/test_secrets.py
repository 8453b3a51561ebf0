"""Tests that nothing printed or written by the stages contains secrets of the environment or of tools' settings."""

import os
import platform
import shutil
import subprocess
import sys

import pytest
import yaml

from raw_data import write_raw
from repository import PARAMS, REPOSITORY

SECRETS = {  # named as common tools name them
    "AWS_ACCESS_KEY_ID": "AKIA-hunter2-aws-id",
    "AWS_SECRET_ACCESS_KEY": "hunter2-aws-key",
    "DVC_STUDIO_TOKEN": "hunter2-studio",
    "GITHUB_TOKEN": "hunter2-github",
    "PIP_INDEX_URL": "https://driver:hunter2-index@localhost/simple",
    "SYNTHDRIVE_NOTE": "hunter2-note",
}
IN_GIT, IN_DVC = "hunter2-remote", "hunter2-storage"
SETTINGS = (".git", ".dvc")  # where git and DVC themselves store them


@pytest.fixture
def tree(tmp_path):
    """A checkout with small networks, raw data, and passwords in the settings of git and DVC."""
    tree = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "src" / "synthdrive", tree / "src" / "synthdrive")
    shutil.copytree(REPOSITORY / "stages", tree / "stages")
    values = yaml.safe_load(PARAMS.read_text())
    values["data"]["raw"] = "raw"
    values["model"] |= {"hidden_size": 32, "sub_graph_layers": 1, "dense_from_goals": 4}
    values["finetune"] |= {"epochs": 1, "global_batch_size": 4, "micro_batch_size": 4, "warmup_epochs": 0.0}
    (tree / "params.yaml").write_text(yaml.safe_dump(values))
    git = ["git", "-C", str(tree), "-c", "user.name=driver", "-c", "user.email=driver@localhost"]
    for arguments in (
        ["init", "-q"],
        ["remote", "add", "origin", f"https://driver:{IN_GIT}@localhost/synthdrive.git"],
        ["add", "src", "stages", "params.yaml"],
        ["commit", "-q", "-m", "code"],
    ):
        subprocess.run([*git, *arguments], check=True)
    (tree / ".dvc").mkdir()
    (tree / ".dvc" / "config.local").write_text(f"['remote \"store\"']\n    url = s3://x\n    secret_key = {IN_DVC}\n")
    write_raw(tree / "raw", train=range(1, 9), val=range(11, 15))
    return tree


def run(tree, *command, **settings):
    environment = {**os.environ, **SECRETS, "PYTHONPATH": str(tree / "src"), **settings}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_neither_output_nor_files_contain_a_secret(tree):
    printed = {}
    for command in (
        ["stages/ingest.py", "--workers", 1],
        ["stages/evaluate_baselines.py"],
        ["stages/finetune.py", "--variant", "none", "--seed", 0, "--scenes", "data/scenes/train"],
    ):
        status, printed[command[0]] = run(tree, *command)
        assert status == 0, printed[command[0]]
    for traceback in ("0", "1"):
        command = ["stages/ingest.py", "--raw", "nowhere"]
        status, printed[f"a failure, {traceback}"] = run(tree, *command, SYNTHDRIVE_TRACEBACK=traceback)
        assert status != 0
    written = {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.relative_to(tree).parts[0] not in SETTINGS
    }
    assert {"models/finetuned/none-0/metadata.json", "metrics/constant_velocity.json"} <= written.keys()
    names = [*SECRETS.values(), "hunter2", IN_GIT, IN_DVC]
    names += [platform.node()] if len(platform.node()) > 5 and platform.node() != "localhost" else []
    for place, content in {**written, **{name: text.encode() for name, text in printed.items()}}.items():
        for name in names:
            assert name.encode() not in content, f"{name} in {place}"
