"""Tests of `make setup` with a stand-in for Python: which commands it runs, and when."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from repository import REPOSITORY

# Records the arguments of `pip install`; `-m venv --clear FOLDER` puts a copy of itself there. Without network (if
# there is a file `offline`), pip finds packages only on its default index.
PYTHON = """\
#!/bin/sh
case "$*" in
  *version_info*) echo VERSION ;;
  *base_executable*) echo "$PWD/pythonVERSION" ;;
  *"-m venv"*)
    for folder; do :; done
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/packages" && cp "$0" "$folder/bin/python" ;;
  *" install "*)
    echo "${*##* install -q }" >> calls
    case "$*" in *--index-url*) [ ! -f offline ] ;; esac ;;
  *sysconfig*) echo "$PWD/.venv/packages" ;;
  *wheels*) [ -f "$4/vendored.lock" ] ;;
esac
"""
CPU, CUDA = "torch==2.13.0 --index-url https://index.example/cpu", "torch==2.13.0 --index-url https://index.example/cu"
LOCKED = "--require-hashes --no-deps -r requirements.lock"


@pytest.fixture(params=["tree", "a tree with é and spaces"])
def tree(tmp_path, request):
    root = tmp_path / request.param
    (root / "containers").mkdir(parents=True)
    (root / "path").mkdir()
    for name in ("Makefile", "requirements.lock", "containers/install-environment.sh", "containers/torch.sh"):
        shutil.copy(REPOSITORY / name, root / name)
    interpreter(root, "3.11")
    return root


def interpreter(tree, version):
    """Make a stand-in for Python of this version, also as python3.11 on PATH, which is searched for first."""
    for program in (tree / f"python{version}", tree / "path" / "python3.11"):
        program.write_text(PYTHON.replace("VERSION", version))
        program.chmod(0o755)
    return tree / f"python{version}"


def run_setup(tree, *choice):
    environment = {key: value for key, value in os.environ.items()
            if key not in ("TORCH", "WHEELS", "PYTHON", "SYNTHDRIVE_CONTAINER")}  # fmt: skip
    environment["PATH"] = f"{tree / 'path'}{os.pathsep}{os.environ['PATH']}"
    (tree / "calls").unlink(missing_ok=True)
    return subprocess.run(["make", "setup", *choice], cwd=tree, env=environment, capture_output=True, text=True)


def setup(tree, *choice):
    """Run `make setup` and return the arguments of each `pip install`; empty if the environment is up to date."""
    done = run_setup(tree, *choice)
    assert done.returncode == 0, done.stderr
    return (tree / "calls").read_text().splitlines() if (tree / "calls").exists() else []


def torch_of(tree, *choice):
    """Run `make setup` and return the arguments of the last `pip install`, that of torch."""
    installs = setup(tree, *choice)
    assert installs[0] == LOCKED
    return installs[-1]


def test_the_build_of_torch_fits_the_machine(tree):
    (tree / "path" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")  # a driver without a GPU
    (tree / "path" / "nvidia-smi").chmod(0o755)
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    done = run_setup(tree)
    assert "torch: cpu (what fits this machine" in done.stdout
    assert (tree / "calls").read_text().splitlines()[-1].endswith("/whl/cpu torch==2.13.0")
    shutil.rmtree(tree / ".venv")
    (tree / "path" / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: an H100'\n")
    assert torch_of(tree) == "torch==2.13.0"
    assert setup(tree) == []
    assert torch_of(tree, "TORCH=cpu").endswith("/whl/cpu torch==2.13.0")


def test_without_the_cpu_index_torch_comes_from_pips_default_index(tree):
    (tree / "offline").touch()
    installs = setup(tree, "TORCH=cpu")
    assert installs[-2].endswith("/whl/cpu torch==2.13.0")
    assert installs[-1] == "torch==2.13.0"


def test_without_a_choice_the_installed_build_of_torch_is_kept(tree):
    assert torch_of(tree, f"TORCH={CPU}") == CPU
    assert setup(tree) == []
    (tree / "requirements.lock").write_text("other==1\n")
    (tree / ".venv" / "installed").touch()
    assert torch_of(tree) == CPU
    assert (tree / ".venv" / "installed").exists()
    assert setup(tree, f"TORCH={CPU}") == []


def test_another_choice_makes_a_new_environment(tree):
    torch_of(tree, f"TORCH={CPU}")
    (tree / ".venv" / "installed").touch()
    assert torch_of(tree, f"TORCH={CUDA}") == CUDA
    assert not (tree / ".venv" / "installed").exists()
    (tree / "wheels").mkdir()
    (tree / "wheels" / "vendored.lock").touch()
    assert setup(tree, "WHEELS=wheels")[0].startswith(f"--no-index --find-links {tree}/wheels")
    assert setup(tree, "WHEELS=wheels") == []
    assert setup(tree) == []


def test_a_folder_without_wheels_does_not_change_the_environment(tree):
    setup(tree, f"TORCH={CPU}")
    assert run_setup(tree, "WHEELS=absent").returncode
    assert setup(tree) == []


def test_an_interrupted_setup_continues_with_its_choice(tree):
    (tree / "offline").touch()
    assert run_setup(tree, f"TORCH={CPU}").returncode
    (tree / "offline").unlink()
    (tree / ".venv" / "installed").touch()
    assert torch_of(tree) == CPU
    assert (tree / ".venv" / "installed").exists()


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_another_python_is_refused_before_anything_is_installed(tree, version):
    done = run_setup(tree, f"PYTHON={interpreter(tree, version)}")
    assert done.returncode
    assert f"is Python {version}; 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not (tree / "calls").exists()
    assert not (tree / ".venv").exists()


def test_another_interpreter_gets_a_new_environment_and_is_kept(tree):
    setup(tree)
    (tree / ".venv" / "installed").touch()
    python = interpreter(tree, "3.12")
    assert setup(tree) == []  # another Python is installed, but not requested
    assert setup(tree, f"PYTHON={python}")
    assert not (tree / ".venv" / "installed").exists()
    interpreter(tree, "3.11")
    assert setup(tree) == []
    (tree / ".venv" / "bin" / "python").unlink()  # the system's Python was removed
    assert setup(tree)


def test_an_environment_whose_interpreter_was_removed_is_made_again(tree):
    setup(tree, f"TORCH={CPU}")
    (tree / ".venv" / "bin" / "python").unlink()  # as an upgrade of the system's Python leaves it
    assert torch_of(tree) == CPU
    assert setup(tree) == []


def test_a_moved_checkout_is_set_up_again(tree):
    assert torch_of(tree, f"TORCH={CPU}") == CPU
    moved = tree.rename(tree.with_name("moved"))
    (moved / ".venv" / "installed").touch()
    assert torch_of(moved) == CPU
    assert not (moved / ".venv" / "installed").exists()
    assert setup(moved) == []


def test_a_path_that_dvcs_queue_cannot_use_causes_a_warning(tree):
    assert ("DVC cannot run queued experiments" in run_setup(tree).stdout) == ("é" in tree.name)
