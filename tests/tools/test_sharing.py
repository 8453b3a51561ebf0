"""Tests of pushing results from one clone and pulling them in another: folder, WebDAV server and SSH server."""

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from commands import dvc, git, run
from repository import REPOSITORY

MODEL = "models/finetuned/combined-0"
PIPELINE = """\
stages:
  train:
    cmd: mkdir -p models/finetuned/combined-0 && cp weights.txt models/finetuned/combined-0/weights.txt
    deps: [weights.txt]
    outs: [models/finetuned/combined-0]
  report:
    cmd: mkdir -p reports && wc -c < models/finetuned/combined-0/weights.txt > reports/summary.txt
    deps: [models/finetuned/combined-0]
    outs: [reports]
"""


@pytest.fixture
def published(tmp_path):
    """A repository of two small stages that have run, with the project's Makefile, ignored files and artifacts."""
    root = tmp_path / "published"
    root.mkdir()
    for name in ("Makefile", ".gitignore", ".gitattributes", ".dvcignore"):
        shutil.copy(REPOSITORY / name, root)
    artifacts = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["artifacts"]
    (root / "dvc.yaml").write_text(PIPELINE + yaml.safe_dump({"artifacts": artifacts}))
    (root / "weights.txt").write_text("the weights\n")
    git(root, "init", "-q", "-b", "main")
    dvc(root, "init", "-q")
    dvc(root, "repro", "-q")
    return root


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


WEBDAV = ("wsgidav", "cheroot", "dvc_webdav")
SSH = ("asyncssh", "dvc_ssh", "sshfs")


def webdav_command(port: int, storage: Path) -> list[str]:
    command = [sys.executable, "-m", "wsgidav.server.server_cli", "--host", "127.0.0.1", "--port", str(port)]
    return [*command, "--root", str(storage), "--auth", "anonymous"]


def ssh_command(port: int, storage: Path, key: Path) -> list[str]:
    """Command line of an SSH server that accepts a new key, which is written to `key`."""
    import asyncssh

    made = asyncssh.generate_private_key("ssh-ed25519")
    made.write_private_key(key)
    made.write_public_key(f"{key}.pub")
    key.chmod(0o600)
    return [sys.executable, str(Path(__file__).with_name("ssh_server.py")), str(port), str(storage), f"{key}.pub"]


@pytest.fixture(params=["folder", "webdav", "ssh"])
def remote(request, tmp_path):
    """The address of an empty remote, and its further options in DVC."""
    storage = tmp_path / "storage"
    storage.mkdir()
    if request.param == "folder":
        yield str(storage), {}
        return
    for package in WEBDAV if request.param == "webdav" else SSH:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install wsgidav cheroot dvc-webdav dvc-ssh")
    port, key = free_port(), tmp_path / "key"
    over_ssh = request.param == "ssh"
    command = ssh_command(port, storage, key) if over_ssh else webdav_command(port, storage)
    log = (tmp_path / "server.log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        if over_ssh:
            yield f"ssh://somebody@127.0.0.1:{port}/results", {"keyfile": str(key), "allow_agent": "false"}
        else:
            yield f"webdav://127.0.0.1:{port}/", {}
        assert list(storage.rglob("*.dir")), "nothing went through the server"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.timeout(240)
def test_pushed_results_can_be_pulled_and_need_not_be_made_again(published, remote, tmp_path):
    address, options = remote
    dvc(published, "remote", "add", "--default", "storage", address)
    for name, value in options.items():
        dvc(published, "remote", "modify", "storage", name, value)
    git(published, "add", "-A")
    git(published, "commit", "-q", "-m", "Results and their remote")
    git(published, "tag", "-a", "combined@v1.0.0", "-m", "First version")
    dvc(published, "push", "-q", "--run-cache")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(published), str(clone))
    assert not (clone / "models").exists()
    dvc(clone, "pull", "-q")
    assert "Running stage" not in dvc(clone, "repro")
    assert run(clone, "make", "--no-print-directory", "report").startswith("12\n")
    assert git(clone, "status", "--porcelain") == ""
    dvc(tmp_path, "artifacts", "get", str(published), "combined", "--out", "by-name")
    dvc(tmp_path, "get", str(published), MODEL, "--rev", "main", "--out", "by-path")
    for folder in ("by-name", "by-path"):
        assert (tmp_path / folder / "weights.txt").read_text() == "the weights\n"


def test_declared_models_are_outputs_of_stages():
    content = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    locked = yaml.safe_load((REPOSITORY / "dvc.lock").read_text())["stages"]
    outputs = {out["path"] for stage in locked.values() for out in stage.get("outs", [])}
    for entry in content["artifacts"].values():
        assert entry["path"] in outputs
        assert entry["type"] == "model"
        assert entry["desc"]
        assert entry["labels"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_make_repro_in_a_fresh_clone_pulls_results_from_the_remote(tiny_pipeline, tmp_path):
    """On the whole tiny pipeline: no stage runs again, and the clone's working tree stays clean."""
    from tiny_pipeline import copy_of

    published, clone = copy_of(tiny_pipeline, tmp_path / "published"), tmp_path / "clone"
    dvc(published, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    git(published, "commit", "-q", "-a", "-m", "A remote")
    dvc(published, "push", "-q")
    git(tmp_path, "clone", "-q", str(published), str(clone))
    environment = Path(sys.executable).parents[1]
    printed = run(clone, "make", "repro", f"SYNTHDRIVE_CONTAINER={environment}")
    assert "Running stage" not in printed
    assert "report: reports/index.html" in printed
    assert git(clone, "status", "--porcelain") == ""
