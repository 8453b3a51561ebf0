"""On what kind of machine was dvc.lock made? Data have the same bytes everywhere; what is trained, on equal machines.

Other processors sum in another order, so that weights differ in their last bits, and with them metrics and the lock.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from pathlib import Path

from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import exit_on_error

RECORD = Path("dvc.lock.made_on.json")


def this_machine() -> dict[str, str]:
    """Processor, and the versions of Python and torch, in words."""
    return {"processor": _processor(), "python": platform.python_version(), "torch": version("torch")}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """`python -m tools.made_on`: exit status 0 where this machine is like the recorded one; `--write` records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"record this machine in {RECORD}")
    given = parser.parse_args()
    here = this_machine()
    with exit_on_error():
        if given.write:
            write_json(RECORD, here)
        recorded = read_json(RECORD)
    print(f"dvc.lock was made on {recorded}; this is {here}")
    raise SystemExit(0 if recorded == here else 1)


if __name__ == "__main__":
    main()
