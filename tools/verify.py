"""Is this repository what it says it is? Three levels, from a second without data to a full retraining.

lock: code, parameters, dvc.yaml and dvc.lock belong together, and the lock is consistent in itself. Needs no data.
spot: the cheap stages, run again from nothing in a copy, give the bytes that dvc.lock records; what lies in the
    workspace has those bytes too, the metadata of checkpoints and forecasts name the parameters of params.yaml, and the
    metrics are what the stored forecasts give when they are scored again.
full: the whole pipeline, run again in a copy, gives the recorded data bytes and the recorded metrics within
    `verify.tolerances`; a metric without a tolerance of its own has that of its unit (MR6, minFDE6).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from synthdrive.config.report import VerifyParameters
from synthdrive.config.whole_file import changed_parameters
from synthdrive.core.artifacts import read_json, read_yaml
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.core.parameters import load_section
from tools.dependencies import problems
from tools.dvc_commands import dvc
from tools.metrics_files import differences, recorded_files, scored_again

LEVELS = ("lock", "spot", "full")
Stages = dict[str, Any]  # of dvc.lock: those that dvc.yaml still has
Changes = dict[str, list[str]]  # what differs from dvc.lock, in words, by stage
METADATA = "metadata.json"
RUN_FROM_ROOT = "Run from the repository's root."
ABSENT = ("deleted", "not in cache")  # what DVC says of an artifact that is not in the workspace


class Verdict:
    """What was compared, printed line by line, and whether all of it agreed."""

    def __init__(self) -> None:
        self.failures = 0
        self.comparisons = 0

    def compare(self, what: str, problems: list[str]) -> None:
        """Print one comparison: its problems, or that there were none."""
        self.comparisons += 1
        self.failures += len(problems)
        print(f"{'FAIL' if problems else 'ok':>4}  {what}", flush=True)
        for problem in problems:
            print(f"      {problem}", flush=True)


def read_lock(repository: Path) -> Stages:
    """Return the stages of a repository's dvc.lock; raises InputError if the file is missing or unreadable."""
    stages: Stages = read_yaml(repository / "dvc.lock", "DVC's lock file", RUN_FROM_ROOT)["stages"]
    return stages


def verify_lock(repository: Path, changes: Changes, verdict: Verdict) -> Stages:
    """Level lock; see the module. Returns the entries of dvc.lock for the stages that dvc.yaml has.

    DVC leaves the entries of stages that are gone, as after a run of fewer variants or seeds: they are named, and no
    difference.
    """
    lock = read_lock(repository)
    content = read_yaml(repository / "dvc.yaml", "the pipeline's file", RUN_FROM_ROOT)
    verdict.compare("dvc.yaml declares what the stages import", list(problems(content, repository)))
    checked = dvc("stage", "list", "--name-only", repository=repository, captured=True).split()
    stale = [f"{name}: {what}" for name, found in changes.items() for what in found]
    verdict.compare(f"dvc.lock matches code, parameters and dvc.yaml in {len(checked)} stages", stale)
    missing = [f"{name}: not in dvc.lock" for name in checked if name not in lock]
    verdict.compare(f"dvc.lock holds the {len(checked)} stages of dvc.yaml", missing)
    stages = {name: lock[name] for name in checked if name in lock}
    if leftovers := len(lock) - len(stages):
        print(f"note  dvc.lock also holds {leftovers} stages that are no longer in dvc.yaml; to drop them:")
        print("      rm dvc.lock && dvc repro (DVC's cache of runs gives back what is there)")
    verdict.compare("dvc.lock is consistent: what a stage read is what another wrote", inconsistencies(stages))
    return stages


def changes_since_lock(repository: Path) -> Changes:
    """What differs from dvc.lock, by stage and in words; artifacts and data that are not there do not count."""
    status = yaml.safe_load(dvc("status", "--json", repository=repository, captured=True)) or {}
    changes: Changes = {}
    for name, entries in status.items():
        for entry in entries:
            if isinstance(entry, str):  # "changed command"
                changes.setdefault(name, []).append(entry)
                continue
            for path, state in {**entry.get("changed deps", {}), **entry.get("changed outs", {})}.items():
                keys = state if isinstance(state, dict) else {"": state}  # parameters, by key
                found = [f"{path} {key} {how}".replace("  ", " ") for key, how in keys.items() if how not in ABSENT]
                if found:
                    changes.setdefault(name, []).extend(found)
    return changes


def inconsistencies(lock: dict[str, Any]) -> list[str]:
    """Paths that one stage records as read with another hash than the stage that wrote them."""
    written = {out["path"]: (out.get("md5"), name) for name, stage in lock.items() for out in stage.get("outs", [])}
    problems = []
    for name, stage in lock.items():
        for dependency in stage.get("deps", []):
            md5, writer = written.get(dependency["path"], (dependency.get("md5"), ""))
            if dependency.get("md5") != md5:
                problems.append(f"{dependency['path']}: {writer} wrote {md5}, {name} read {dependency.get('md5')}")
    return problems


def verify_workspace(repository: Path, stages: Stages, changes: Changes, verdict: Verdict) -> None:
    """What lies in the workspace has the bytes that dvc.lock records; what is not there is not judged."""
    written = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    changed = [
        f"{path}: changed since {name} wrote it"
        for path, name in written.items()
        if f"{path} modified" in changes.get(name, [])
    ]
    present = sum((repository / path).exists() for path in written)
    verdict.compare(f"{present} of {len(written)} artifacts are in the workspace, with the bytes of dvc.lock", changed)


def verify_metadata(repository: Path, stages: Stages, verdict: Verdict) -> None:
    """What is trained or evaluated was made with the parameters that the lock is said to match.

    DVC takes a stage's parameters down when the stage ends: were params.yaml edited while it ran, the lock would
    record values that made nothing.
    """
    folders = [repository / out["path"] for stage in stages.values() for out in stage.get("outs", [])]
    found = {folder: read_json(folder / METADATA) for folder in folders if (folder / METADATA).is_file()}
    recorded = {folder: metadata for folder, metadata in found.items() if metadata.get("parameters")}
    problems = [
        f"{folder.relative_to(repository)}: made with {section}.{key} {then}, params.yaml has {now}"
        for folder, metadata in recorded.items()
        for section, key, then, now in changed_parameters(metadata, repository / "params.yaml")
    ]
    verdict.compare(f"{len(recorded)} checkpoints and forecasts were made with the parameters of params.yaml", problems)


@contextmanager
def fresh_copy(repository: Path) -> Iterator[Path]:
    """The tracked files, as they are in the workspace, in a new folder without any artifact or cache."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(
            listing, cwd=repository, check=True, capture_output=True, encoding="utf-8", errors="surrogateescape"
        ).stdout.split("\0")
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise InputError(repository, "no git checkout", "the repository with its history") from None
    lock = read_lock(repository)
    outputs = {out["path"] for stage in lock.values() for out in stage.get("outs", [])}
    inputs = {dependency["path"] for stage in lock.values() for dependency in stage.get("deps", [])} - outputs
    with tempfile.TemporaryDirectory(prefix="synthdrive-verify-") as name:
        copy = Path(name)
        for file in filter(None, names):
            if (repository / file).is_file() and file not in outputs:
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / file, copy / file)
        for path in sorted(inputs):  # raw data that no stage makes and git does not hold
            inside_output = any(Path(path) in Path(out).parents or Path(out) in Path(path).parents for out in outputs)
            if not (copy / path).exists() and (repository / path).exists() and not inside_output:
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                (copy / path).symlink_to((repository / path).resolve())
        (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
        yield copy


def compare_outputs(copy: Path, recorded: Stages, parameters: VerifyParameters, verdict: Verdict) -> None:
    """Hashes of the outputs of `spot_stages` (matrix cells included), made again against recorded."""
    again = read_lock(copy)
    for name in recorded:
        if name.split("@")[0] in parameters.spot_stages:
            new = {out["path"]: out.get("md5") for out in again.get(name, {}).get("outs", [])}
            old = {out["path"]: out.get("md5") for out in recorded[name].get("outs", [])}
            problems = [
                f"{path}: recorded {old[path]}, made {new.get(path)}" for path in old if old[path] != new.get(path)
            ]
            verdict.compare(f"{name}: {len(old)} outputs made again, byte for byte", problems)


def verify_metrics(repository: Path, stages: Stages, verdict: Verdict) -> None:
    """The metrics are those of the stored forecasts; where forecasts or scenes are not there, they are not judged."""
    found = dict(scored_again(repository, stages))
    problems = [f"{path}: {problem}" for path, wrong in found.items() for problem in wrong]
    verdict.compare(
        f"{len(found)} of {len(recorded_files(stages))} metrics files, from their stored forecasts", problems
    )


def compare_metrics(
    copy: Path, repository: Path, stages: Stages, tolerances: dict[str, float], verdict: Verdict
) -> None:
    """Every number of every metrics file that the stages record, made again against that in the workspace."""
    for path in recorded_files(stages):
        problems = differences(repository / path, copy / path, tolerances)
        verdict.compare(f"{path}: every metric within tolerance", problems)


def verify(level: str, repository: Path) -> Verdict:
    """Run a level (and what it builds on); prints what is compared."""
    parameters = load_section(VerifyParameters, "verify", repository / "params.yaml")
    verdict = Verdict()
    changes = changes_since_lock(repository)
    stages = verify_lock(repository, changes, verdict)
    if level == "lock":
        return verdict
    verify_workspace(repository, stages, changes, verdict)
    verify_metadata(repository, stages, verdict)
    verify_metrics(repository, stages, verdict)
    with fresh_copy(repository) as copy:
        targets = parameters.spot_stages if level == "spot" else []
        print(f"making {', '.join(targets) or 'everything'} again in {copy}", flush=True)
        dvc("repro", *targets, repository=copy)
        compare_outputs(copy, stages, parameters, verdict)
        if level == "full":
            compare_metrics(copy, repository, stages, parameters.tolerances, verdict)
    return verdict


def main() -> None:
    """Command line: `python -m tools.verify {lock,spot,full}`; exit status 0 when all agreed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=LEVELS)
    arguments = parser.parse_args()
    with exit_on_error():
        verdict = verify(arguments.level, Path.cwd())
    print(f"verify {arguments.level}: {verdict.comparisons} comparisons, {verdict.failures} differences")
    raise SystemExit(1 if verdict.failures else 0)


if __name__ == "__main__":
    main()
