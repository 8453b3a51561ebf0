"""Verify that the recorded results belong to this code, on three levels, from a second without data to full retraining.

lock: code, parameters, dvc.yaml and dvc.lock match, and dvc.lock is consistent. Needs no data.
spot: the cheap stages, run again from scratch in a copy, give the bytes that dvc.lock records. The artifacts in the
    workspace have these bytes too, the metadata of checkpoints and forecasts match params.yaml, and scoring the stored
    forecasts again gives the metrics.
full: the whole pipeline, run again in a copy, gives the recorded data byte for byte and the recorded metrics within
    `verify.tolerances`; other rates have the tolerance of MR6, other distances that of minFDE6.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthdrive.config.report import VerifyParameters
from synthdrive.config.whole_file import changed_parameters
from synthdrive.core.artifacts import read_json, read_yaml
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.core.parameters import load_section
from tools.dependencies import problems
from tools.dvc_commands import RUN_FROM_ROOT, Changes, Stages, changes_since_lock, dvc, locked_stages
from tools.metrics_files import differences, recorded_files, scored_again

LEVELS = ("lock", "spot", "full")
METADATA = "metadata.json"


class Verdict:
    """Prints comparisons line by line, and counts them and the differences found."""

    def __init__(self) -> None:
        self.failures = 0
        self.comparisons = 0

    def compare(self, what: str, problems: list[str]) -> None:
        """Print a comparison and its problems, if any."""
        self.comparisons += 1
        self.failures += len(problems)
        print(f"{'FAIL' if problems else 'ok':>4}  {what}", flush=True)
        for problem in problems:
            print(f"      {problem}", flush=True)


def verify_lock(repository: Path, changes: Changes, verdict: Verdict) -> Stages:
    """Verify level lock (see the module); return the entries of dvc.lock for the stages of dvc.yaml.

    DVC keeps entries of stages that no longer exist, as after a run with fewer variants or seeds. They are mentioned,
    but are not a difference.
    """
    lock = locked_stages(repository)
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
    verdict.compare("dvc.lock is consistent: each stage read what another stage wrote", inconsistencies(stages))
    return stages


def inconsistencies(lock: Stages) -> list[str]:
    """Describe the paths that a stage read with another hash than that of the stage that wrote them."""
    written = {out["path"]: (out.get("md5"), name) for name, stage in lock.items() for out in stage.get("outs", [])}
    problems = []
    for name, stage in lock.items():
        for dependency in stage.get("deps", []):
            md5, writer = written.get(dependency["path"], (dependency.get("md5"), ""))
            if dependency.get("md5") != md5:
                problems.append(f"{dependency['path']}: {writer} wrote {md5}, {name} read {dependency.get('md5')}")
    return problems


def verify_workspace(repository: Path, stages: Stages, changes: Changes, verdict: Verdict) -> None:
    """Compare the artifacts in the workspace with dvc.lock; missing artifacts do not count."""
    written = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    changed = [
        f"{path}: changed since {name} wrote it"
        for path, name in written.items()
        if f"{path} modified" in changes.get(name, [])
    ]
    present = sum((repository / path).exists() for path in written)
    verdict.compare(f"{present} of {len(written)} artifacts are in the workspace, with the bytes of dvc.lock", changed)


def verify_metadata(repository: Path, stages: Stages, verdict: Verdict) -> None:
    """Compare the parameters in the metadata of checkpoints and forecasts with params.yaml.

    DVC records a stage's parameters when the stage ends. If params.yaml was edited while the stage ran, dvc.lock has
    values that the stage did not use.
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
    """Copy the files that git does not ignore from the workspace to a temporary folder, without artifacts or cache."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(
            listing, cwd=repository, check=True, capture_output=True, encoding="utf-8", errors="surrogateescape"
        ).stdout.split("\0")
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise InputError(repository, "no git checkout", "the repository with its history") from None
    lock = locked_stages(repository)
    outputs = {out["path"] for stage in lock.values() for out in stage.get("outs", [])}
    inputs = {dependency["path"] for stage in lock.values() for dependency in stage.get("deps", [])} - outputs
    with tempfile.TemporaryDirectory(prefix="synthdrive-verify-") as name:
        copy = Path(name)
        for file in filter(None, names):
            if (repository / file).is_file() and file not in outputs:
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / file, copy / file)
        for path in sorted(inputs):  # raw data that no stage makes and git does not track
            inside_output = any(Path(path) in Path(out).parents or Path(out) in Path(path).parents for out in outputs)
            if not (copy / path).exists() and (repository / path).exists() and not inside_output:
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                (copy / path).symlink_to((repository / path).resolve())
        (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
        yield copy


def compare_outputs(copy: Path, recorded: Stages, parameters: VerifyParameters, verdict: Verdict) -> None:
    """Compare the outputs of `spot_stages`, made again in a copy, with their recorded hashes."""
    again = locked_stages(copy)
    for name in recorded:
        if name.split("@")[0] in parameters.spot_stages:
            new = {out["path"]: out.get("md5") for out in again.get(name, {}).get("outs", [])}
            old = {out["path"]: out.get("md5") for out in recorded[name].get("outs", [])}
            problems = [
                f"{path}: recorded {old[path]}, made {new.get(path)}" for path in old if old[path] != new.get(path)
            ]
            verdict.compare(f"{name}: {len(old)} outputs made again, byte for byte", problems)


def verify_metrics(repository: Path, stages: Stages, verdict: Verdict) -> None:
    """Compare the metrics with those of the stored forecasts, where forecasts and scenes are in the workspace."""
    found = dict(scored_again(repository, stages))
    problems = [f"{path}: {problem}" for path, wrong in found.items() for problem in wrong]
    verdict.compare(
        f"{len(found)} of {len(recorded_files(stages))} metrics files, from their stored forecasts", problems
    )


def compare_metrics(
    copy: Path, repository: Path, stages: Stages, tolerances: dict[str, float], verdict: Verdict
) -> None:
    """Compare every number of every recorded metrics file, made again in a copy, with that in the workspace."""
    for path in recorded_files(stages):
        problems = differences(repository / path, copy / path, tolerances)
        verdict.compare(f"{path}: every metric within tolerance", problems)


def verify(level: str, repository: Path) -> Verdict:
    """Verify a level, including the lower ones, and print the comparisons."""
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
    """Command line: `python -m tools.verify {lock,spot,full}`; exit status 0 if all comparisons agree, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=LEVELS)
    arguments = parser.parse_args()
    with exit_on_error():
        verdict = verify(arguments.level, Path.cwd())
    print(f"verify {arguments.level}: {verdict.comparisons} comparisons, {verdict.failures} differences")
    raise SystemExit(1 if verdict.failures else 0)


if __name__ == "__main__":
    main()
