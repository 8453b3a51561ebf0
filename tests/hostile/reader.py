"""Read hostile files, each in a separate process with limits of memory and processor time.

A request is a line of JSON, `{"reader": "maps", "path": "..."}`. The answer is a line of JSON too, with the outcome,
the peak memory of reading (MB above the use before reading) and the processor time (s).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from synthdrive.augmentation.augmented_scenes import AugmentedScenes
from synthdrive.config.synthetic_data import AugmentParameters
from synthdrive.core.artifacts import read_arrays, read_json, read_table
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.formats.argoverse1_scene_reader import read_scene, scene_files
from synthdrive.scenes.lane_map import LaneMap, LaneSegments
from synthdrive.scenes.scene_store import SceneStore

LIMITS = Limits(file_bytes=10**7, archive_bytes=2 * 10**8)  # smaller than those of params.yaml, for a faster test
MOST_MEMORY = 1 << 29  # bytes that reading may allocate; further allocations fail
MOST_SECONDS = 20  # of processor time, after which the process is killed


def _scenes(path: Path) -> None:
    for name, content in scene_files(path, LIMITS):
        read_scene(content, name)


READERS: dict[str, Callable[[Path], object]] = {
    "maps": lambda path: list(read_maps(path, LIMITS)),
    "scenes": _scenes,
    "store": SceneStore.load,
    "lane map": LaneMap.load,
    "lanes": LaneSegments.load,
    "augmented": AugmentedScenes.load,
    "forecasts": Forecasts.load,
    "arrays": read_arrays,
    "table": read_table,
    "json": read_json,
    "parameters": lambda path: load_section(AugmentParameters, "augment", path),
}


def _memory(key: str) -> int:
    """Return an entry of /proc/self/status, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _read(reader: str, path: Path) -> dict[str, object]:
    data = _memory("VmData") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    before, started = _memory("VmRSS"), time.process_time()
    try:
        READERS[reader](path)
        outcome = "read"
    except InputError as error:
        outcome = f"refused: {error}"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:300]}"
    return {
        "outcome": outcome,
        "megabytes": max(0, _memory("VmHWM") - before) / 1e6,
        "seconds": time.process_time() - started,
    }


def _read_in_child(reader: str, path: Path) -> dict[str, object]:
    """Run `_read` in a child process, so that its memory can be measured and it may be killed."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        with open(sink, "w", encoding="utf-8", errors="backslashreplace") as stream:
            json.dump(_read(reader, path), stream)
        os._exit(0)
    os.close(sink)
    with open(source, encoding="utf-8") as stream:
        answer = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(answer) if answer else {"outcome": f"killed: {status}", "megabytes": 0.0, "seconds": 0.0}


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_read_in_child(request["reader"], Path(request["path"]))), flush=True)
