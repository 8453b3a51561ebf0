"""Inject one kind of fault into each stage in turn while the pipeline runs from start to end, and check the outcome."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import smallest_pipeline as smallest

STAGES = (
    "record_sample", "ingest", "check_raw", "augment", "synthesize", "check_synthetic", "pretrain", "finetune",
    "evaluate", "evaluate_baselines", "report",
)  # fmt: skip
DISK = "size=256m"  # size of the small file system; the pipeline needs 40 MB


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: name in the table.
        action: name of the method of `inject/sitecustomize.py` that causes it.
        window: part of the stage's actions, or of its time, in which it happens, as fractions.
        delayed: whether it may happen between two actions.
        ends_stage: whether it ends the stage; None if that depends on what the stage still needs.
        message: pattern that the output of the stage or DVC must then match; empty if no process is left to print it.
        clean: whether unfinished files and processes must be gone at once; otherwise they must be after the next run.
    """

    name: str
    action: str
    window: tuple[float, float] = (0.0, 1.0)
    delayed: bool = True
    ends_stage: bool | None = True
    message: str = ""
    clean: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("kill -9, early", "kill", (0.0, 0.4), clean=False),
        Kind("kill -9, late", "kill", (0.4, 1.0), clean=False),
        Kind("Ctrl-C", "interrupt", message=r"stopped.*same command"),
        Kind("SIGTERM", "terminate", message=r"stopped.*same command"),
        Kind("disk full", "disk", (0.0, 0.9), delayed=False, message=r"No space left on device.*Free some space"),
        Kind("memory limit", "memory", (0.0, 0.7), delayed=False, ends_stage=None, message=r"out of memory"),
        Kind("killed by the kernel", "kill_stage", message=r"exited with -9", clean=False),
        Kind("stage started twice", "same_stage", delayed=False, ends_stage=False),
        Kind("dvc repro twice", "same_pipeline", (0.0, 0.5), delayed=False, ends_stage=False),
        Kind("clock jump", "clock", delayed=False, ends_stage=False),
    )
}
JUMPS = ("-3d", "+400d", "-400d", "+1h", "-1h")
REFUSED = r"another process|is busy|Unable to acquire lock|exit status 0"


def reason_to_skip(kind: Kind) -> str:
    """Return why this kind of fault cannot be caused on this machine; empty if it can."""
    if kind.action == "disk":
        if os.geteuid() or not shutil.which("mount"):
            return "mounting a small file system needs root"
        with tempfile.TemporaryDirectory() as folder:
            if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode:
                return "a file system cannot be mounted here"
            subprocess.run(["umount", folder], check=True)
    if kind.action == "clock" and not faketime():
        return "libfaketime is not installed (Debian: apt-get install faketime)"
    return ""


@dataclass
class Outcome:
    """Outcome of one fault in one stage; `problems` is empty if the stage survived as it should."""

    kind: str
    stage: str
    at: str = ""
    lost_seconds: float = 0.0
    lost_epochs: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: its folder, the fingerprints of its results, the actions of each stage, and its duration."""

    folder: Path
    results: dict[str, dict[str, str]]
    actions: dict[str, list[tuple[float, str]]]
    seconds: float


def undisturbed(base: Path) -> Reference:
    """Run the smallest pipeline from start to end and record what each stage does to the disk."""
    folder = base / "undisturbed"
    plan = smallest.sibling(folder, "log") / "plan.json"
    started = time.monotonic()
    if not (folder / "reports").exists():
        plan = make_plan(smallest.make_pipeline(folder), "none", {})
        ended = smallest.run(smallest.dvc("repro"), folder, SYNTHDRIVE_FAULT=str(plan))
        if ended.status:
            raise RuntimeError(f"the undisturbed run failed:\n{ended.output}")
    results = {path: smallest.fingerprints(folder, path) for path in smallest.outputs(folder)}
    actions = {path.stem: json.loads(path.read_text()) for path in sorted(plan.parent.glob("*.actions"))}
    return Reference(folder, results, actions, time.monotonic() - started)


def run_campaign(kind: Kind, reference: Reference, base: Path, seed: int, chosen: Sequence[str]) -> list[Outcome]:
    """Inject the fault into each of the chosen stages and return the outcomes."""
    folder = base / re.sub(r"\W+", "-", kind.name)
    for left in (folder, smallest.sibling(folder, "log"), smallest.sibling(folder, "scratch")):
        shutil.rmtree(left, ignore_errors=True)  # from an earlier run in the same folder
    folder.mkdir()
    with small_disk(folder) if kind.action == "disk" else nullcontext():
        return _run_campaign(kind, reference, smallest.make_pipeline(folder, reference.folder), seed, chosen)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system in memory on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _run_campaign(kind: Kind, reference: Reference, folder: Path, seed: int, chosen: Sequence[str]) -> list[Outcome]:
    moments = {stage: _moment(kind, stage, actions, seed) for stage, actions in reference.actions.items()}
    moments = {stage: moment for stage, moment in moments.items() if stage.split("@")[0] in chosen}
    plan = make_plan(folder, kind.action, moments)
    environment = {"SYNTHDRIVE_FAULT": str(plan)} | (_false_clock(plan.parent) if kind.action == "clock" else {})
    outcomes = {stage: Outcome(kind.name, stage) for stage in moments}
    targets = [] if set(chosen) == set(STAGES) else list(chosen)
    output, run_counts = "", Counter[str]()
    for _ in range(len(moments) + 2):
        before = _fired(plan.parent)
        ended = smallest.run(smallest.dvc("repro", *targets), folder, **environment)
        output += ended.output
        run_counts.update(re.findall(r"Running stage '([^']+)'", ended.output))
        hit_stages = [stage for stage in _fired(plan.parent) if stage not in before]
        for stage in hit_stages:
            _judge(outcomes[stage], kind, plan.parent, ended, folder, reference)
        (folder / "filler").unlink(missing_ok=True)
        if not ended.status:
            break
        if not hit_stages:
            next(iter(outcomes.values())).problems.append(f"dvc repro does not continue: {ended.output[-700:]}")
            break
    _judge_end(outcomes, kind, folder, reference, output, run_counts, partial_run=bool(targets))
    return list(outcomes.values())


def make_plan(folder: Path, action: str, moments: dict[str, dict[str, object]]) -> Path:
    """Write the plan that `inject/sitecustomize.py` follows; it reports to the same folder. Returns its path."""
    log = smallest.sibling(folder, "log")
    log.mkdir()
    plan = log / "plan.json"
    plan.write_text(json.dumps({"kind": action, "root": str(folder), "log": str(log), "moments": moments}))
    return plan


def _moment(kind: Kind, stage: str, actions: list[str], seed: int) -> dict[str, object]:
    """Draw the moment of the fault; it depends only on kind, stage and seed."""
    draw = random.Random(f"{seed} {kind.name} {stage}")
    fraction, jump = draw.uniform(*kind.window), draw.choice(JUMPS)
    if not kind.delayed or draw.random() < 0.5:
        return {"action": max(1, round(fraction * len(actions))), "delay": 0.0, "jump": jump}
    times = [time for time, _ in actions]
    moment = times[0] + fraction * (times[-1] - times[0])
    action = sum(time <= moment for time in times[:-1])
    return {"action": action, "delay": 0.9 * (moment - times[action - 1]), "jump": jump}


def _false_clock(folder: Path) -> dict[str, str]:
    """Return the environment that makes libfaketime read the shift of the clock from a file at every call."""
    (folder / "clock").write_text("+0")
    return {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def faketime() -> str:
    """Return the path of libfaketime for programs with threads; empty if it is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else ""


def _fired(log: Path) -> list[str]:
    return sorted(path.stem for path in log.glob("*.fired"))


def _judge(outcome: Outcome, kind: Kind, log: Path, ended: smallest.Ended, folder: Path, reference: Reference) -> None:
    """Check the artifacts, what is left behind, and the messages right after the fault."""
    record = json.loads((log / f"{outcome.stage}.fired").read_text())
    outcome.at = record["at"]
    for path, expected in reference.results.items():
        if (folder / path).exists() and smallest.fingerprints(folder, path) != expected:
            outcome.problems.append(f"{path} is not what an undisturbed run writes")
    if kind.ends_stage and not ended.status:
        outcome.problems.append("the stage did not end")
    if kind.clean and (left := smallest.partials(folder)):
        outcome.problems.append(f"left behind: {', '.join(left)}")
    if ended.orphans:
        outcome.problems.append(f"still running: {', '.join(ended.orphans)}")
    other = log / f"{outcome.stage}.other"
    if other.exists() and not re.search(REFUSED, other.read_text()):
        outcome.problems.append(f"the other run: {other.read_text()[-500:]}")
    text = " ".join(ended.output.split())
    if re.findall(r"Running stage '([^']+)'", text)[-1] != outcome.stage:
        return  # the stage did not end, for instance because memory sufficed; the output is about a later stage
    outcome.lost_seconds = record["lost"] if ended.status else 0.0
    if kind.message and ended.status and not re.search(kind.message, text):
        outcome.problems.append(f"the output does not match {kind.message!r}: {ended.output[-400:]}")
    if "Traceback" in text and kind.action != "memory":  # a worker that cannot start prints a traceback
        outcome.problems.append(f"a traceback: {ended.output[-1500:]}")


def _judge_end(
    outcomes: dict[str, Outcome],
    kind: Kind,
    folder: Path,
    reference: Reference,
    output: str,
    run_counts: Counter[str],
    partial_run: bool,
) -> None:
    """Check after the last run that the results equal the undisturbed ones and that nothing was done twice."""
    for outcome in outcomes.values():
        if not outcome.at:
            outcome.problems.append("the fault did not happen")
        times = run_counts[outcome.stage]
        if times > 1 + (kind.ends_stage is not False):
            outcome.problems.append(f"ran {times} times")
        lines = re.findall(rf"^{outcome.stage.replace('@', ' ')}: epoch (\d+) of \d+", output, flags=re.M)
        outcome.lost_epochs = len(lines) - len(set(lines))
    written = smallest.outputs(folder) if (folder / "dvc.lock").exists() else {}
    for path, expected in reference.results.items():
        if partial_run and path not in written:
            continue
        found = smallest.fingerprints(folder, path)
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        if wrong:
            maker = next((stage for stage in outcomes if stage == written.get(path)), next(iter(outcomes)))
            outcomes[maker].problems.append(f"differs at the end: {', '.join(wrong)}")
    if left := smallest.partials(folder):
        next(iter(outcomes.values())).problems.append(f"left at the end: {', '.join(left)}")
    status = smallest.run(smallest.dvc("status"), folder)
    if not partial_run and "up to date" not in status.output:
        next(iter(outcomes.values())).problems.append(f"not up to date at the end: {status.output[-500:]}")
