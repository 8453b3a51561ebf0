"""Measure the ingest stage: scenes per CPU second, and peak memory for different numbers of scenes.

Reads `$SYNTHDRIVE_REFERENCE/argoverse1` (default ../shared/argoverse1), or the raw folder given with --raw; larger sets
repeat the same scenes under other names. With --dataset argoverse2, unpacked scenarios are put into tarballs.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from synthdrive.config.whole_file import compose
from synthdrive.core.parameters import read_parameters
from synthdrive.formats.archives import Limits, add_member, read_files, reproducible_tar

LIMITS = Limits(file_bytes=64 * 10**6, archive_bytes=64 * 10**9)
ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / "stages" / "ingest.py"
POLL_SECONDS = 0.05


def repeat_scenes(raw: Path, out: Path, times: int) -> int:
    """Write a copy of a raw folder with each scene `times` times; return the number of scenes."""
    out.mkdir(parents=True)
    (out / "hd_maps.tar.gz").symlink_to((raw / "hd_maps.tar.gz").resolve())
    scenes = 0
    for split in ("train", "val"):
        name = f"forecasting_{split}_v1.1.tar.gz"
        with (out / name).open("wb") as stream, reproducible_tar(stream) as archive:
            for copy in range(times):
                for member, content in read_files(raw / name, lambda path: path.endswith(".csv"), LIMITS):
                    add_member(archive, f"{split}/data/{copy + 1}{Path(member).stem.zfill(7)}.csv", content)
                    scenes += 1
    return scenes


def repeat_scenarios(raw: Path, out: Path, times: int) -> int:
    """Write train.tar and val.tar of Argoverse 2 with each scenario `times` times; return the number of scenarios."""
    out.mkdir(parents=True)
    scenes = 0
    for split in ("train", "val"):
        with tarfile.open(out / f"{split}.tar", "w") as archive:
            for folder in sorted(path for path in (raw / split).iterdir() if path.is_dir()):
                local_map = (folder / f"log_map_archive_{folder.name}.json").read_bytes()
                table = pq.read_table(folder / f"scenario_{folder.name}.parquet")
                for _ in range(times):
                    scenes += 1
                    name = str(uuid.uuid5(uuid.NAMESPACE_OID, str(scenes)))
                    column = table.column_names.index("scenario_id")
                    table = table.set_column(column, "scenario_id", pa.array([name] * len(table), pa.string()))
                    written = io.BytesIO()
                    pq.write_table(table, written)
                    add_member(archive, f"{split}/{name}/scenario_{name}.parquet", written.getvalue())
                    add_member(archive, f"{split}/{name}/log_map_archive_{name}.json", local_map)
    return scenes


def descendants(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def watch(process: subprocess.Popen[bytes], memory: dict[int, float], cpu: dict[int, float]) -> None:
    """Record peak private memory (MB) and CPU seconds of a process and each of its descendants until it ends.

    The totals of the operating system omit the pool's workers, because no process waits for their fork server.
    """
    while process.poll() is None:
        try:
            for pid in descendants(process.pid):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon"):
                        memory[pid] = max(memory.get(pid, 0.0), int(line.split()[1]) / 1e3)
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                cpu[pid] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(POLL_SECONDS)


def measure(raw: Path, scenes: int, workers: int, parameters: Path) -> None:
    """Run the stage on `scenes` scenes and print its figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [
            sys.executable,
            str(STAGE),
            "--raw",
            str(raw),
            "--workers",
            str(workers),
            "--params",
            str(parameters),
        ]
        command += ["--maps-out", str(out / "maps"), "--train-out", str(out / "train"), "--val-out", str(out / "val")]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        memory: dict[int, float] = {}
        cpu: dict[int, float] = {}
        watch(process, memory, cpu)
        if process.returncode:
            raise SystemExit(process.returncode)
    seconds = sum(cpu.values())
    print(
        f"{scenes} scenes, {workers} workers: {seconds:.1f} CPU s, {scenes / seconds:.0f} scenes per CPU second, "
        f"{time.monotonic() - started:.1f} s; peak memory {sum(memory.values()):.0f} MB in all processes together, "
        f"{max(memory.values()):.0f} MB in the largest"
    )


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    reference = Path(os.environ.get("SYNTHDRIVE_REFERENCE", STAGE.parents[2] / "shared"))
    parser.add_argument("--dataset", choices=("argoverse1", "argoverse2"), default="argoverse1")
    parser.add_argument("--raw", type=Path, help="folder of the raw data (default: the reference's)")
    parser.add_argument("--times", type=int, nargs="*", default=[1, 4], help="how often to repeat the scenes")
    parser.add_argument("--workers", type=int, default=2, help="number of worker processes (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parameters = ROOT / "params.yaml"
        repeat = repeat_scenes
        if arguments.dataset == "argoverse2":
            content = compose(read_parameters(parameters), ROOT / "profiles" / "argoverse2.yaml")
            parameters, repeat = Path(folder) / "params.yaml", repeat_scenarios
            parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
        for times in arguments.times:
            raw = Path(folder) / str(times)
            scenes = repeat(arguments.raw or reference / arguments.dataset, raw, times)
            measure(raw, scenes, arguments.workers, parameters)


if __name__ == "__main__":
    main()
