"""Fuzz the readers of files with coverage guidance: `make fuzz SECONDS=120`.

For any file, a reader must return a valid result or raise InputError; any other error ends the run of the target, and
the file is kept. Needs atheris, which is not in the locked environment: pip install --target .run/atheris atheris

Prints the number of files tried and of distinct paths through the code for each target.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ATHERIS = ROOT / ".run" / "atheris"
FOUND = ROOT / ".run" / "fuzz"  # files on which a reader failed, and those that reached new code
MOST_BYTES = 1 << 16  # largest file
LONGEST_MESSAGE = 10_000  # characters
NAMES = ("map", "opendrive", "lanelet2", "scene", "scenario", "local-map", "archive", "store", "lane-map", "parameters")
MOST_SECONDS = 10  # longest time for reading a file
MOST_MEGABYTES = 2048  # largest memory of the process

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/map_import"), str(ROOT / "src"), str(Path(__file__).parent)]


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process; libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    corpus = FOUND / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        with atheris.instrument_imports(include=["synthdrive", "fuzz_targets"], enable_loader_override=False):
            from fuzz_targets import TARGETS
        from synthdrive.core.errors import InputError

        target = TARGETS[name](Path(scratch))
        for number, content in enumerate(target.seeds):
            (corpus / f"seed-{number}").write_bytes(content)

        def read_one(content: bytes) -> None:
            try:
                target.read(content)
            except InputError as error:
                if len(str(error)) > LONGEST_MESSAGE:
                    raise RuntimeError(f"a message of {len(str(error))} characters") from error

        options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={MOST_SECONDS}", f"-max_len={MOST_BYTES}"]
        options += [f"-rss_limit_mb={MOST_MEGABYTES}", "-print_final_stats=1", f"-artifact_prefix={FOUND / name}/"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], read_one)
        atheris.Fuzz()


def main() -> int:
    """Fuzz the chosen targets; return exit status 1 if a reader failed on a file, 2 without atheris."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", action="store_true", help="fuzz one target in this process")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; one of {', '.join(NAMES)}")
    if ATHERIS.is_dir():
        sys.path.append(str(ATHERIS))
    try:
        importlib.import_module("atheris")
    except ImportError:
        where = ATHERIS.relative_to(ROOT)
        print("fuzz: needs atheris, which is not in the locked environment", file=sys.stderr)
        print(f"fuzz: run: pip install --target {where} atheris", file=sys.stderr)
        return 2
    if arguments.here:
        fuzz(arguments.targets[0], arguments.seconds, arguments.seed)
        return 0
    failed = False
    for name in arguments.targets or NAMES:
        started = time.monotonic()
        command = [sys.executable, __file__, name, "--here", "--seconds", str(arguments.seconds)]
        run = subprocess.run([*command, "--seed", str(arguments.seed)], capture_output=True, text=True, check=False)
        output = run.stdout + run.stderr
        tried = re.search(r"stat::number_of_executed_units: *(\d+)", output)
        paths = re.findall(r"cov: (\d+) ft: (\d+)", output)
        took = time.monotonic() - started
        print(f"{name:<12} {int(tried[1]) if tried else 0:>10,} files, {paths[-1][1] if paths else 0:>6} paths, "
              f"{took:.0f} s: {'nothing found' if run.returncode == 0 else f'exit status {run.returncode}'}",
              flush=True)  # fmt: skip
        if run.returncode:
            failed = True
            print("\n".join(output.splitlines()[-30:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
