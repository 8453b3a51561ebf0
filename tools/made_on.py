"""Compare this machine with the one on which dvc.lock was made: trained models have the same bytes only on equal ones.

Other processors sum in another order, so that the weights, and with them metrics and lock, differ in their last bits.
Machines are equal if everything by which numerical libraries choose their code is the same: the processor's model,
vector instructions and cache sizes, the C library, Python and torch. The other packages are locked.
"""

from __future__ import annotations

import argparse
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import exit_on_error

RECORD = Path("dvc.lock.made_on.json")
CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
MODEL = ("model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")
VECTOR = re.compile(r"s?sse|avx|fma|f16c|amx|asimd|sve|bf16|i8mm|fphp")


def this_machine() -> dict[str, Any]:
    """Describe the processor, C library, Python and torch, which may change the last bits of trained weights."""
    cpu = _cpuinfo()
    flags = cpu.get("flags") or cpu.get("Features") or ""
    return {
        "processor": {key: cpu[key] for key in MODEL if key in cpu} or platform.processor() or platform.machine(),
        "vector_instructions": sorted(flag for flag in flags.split() if VECTOR.match(flag)),
        "caches": [path.read_text(encoding="utf-8").strip() for path in sorted(CACHES.glob("index*/size"))],
        "c_library": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _cpuinfo() -> dict[str, str]:
    """Read what Linux reports about the first processor; empty on other systems."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def differing(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Describe what differs between the recorded machine and this one."""
    keys = sorted({*recorded, *here})
    return [f"{key} {recorded.get(key)}, here {here.get(key)}" for key in keys if recorded.get(key) != here.get(key)]


def main() -> None:
    """Command line: `python -m tools.made_on [--write]`; exit status 0 if this machine equals the recorded one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"record this machine in {RECORD}")
    arguments = parser.parse_args()
    here = this_machine()
    with exit_on_error():
        if arguments.write:
            write_json(RECORD, here)
        found = differing(read_json(RECORD), here)
    print("\n".join([f"dvc.lock was made on a machine {'un' if found else ''}like this one", *found]))
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
