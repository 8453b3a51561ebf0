"""Makes one run, from its fold's data to its result, by the pipeline's stages pretrain, finetune and evaluate."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

from studies.argoverse1_folds.plan import BASELINE, Recipe, Run
from studies.argoverse1_folds.results import MISSED, STORED, Result, scenes_hash
from studies.argoverse1_folds.stores import Stores, merge, write_parameters
from synthdrive.core.artifacts import file_hash, read_json, write_json
from synthdrive.core.errors import InputError, SynthDriveError
from synthdrive.core.provenance import (
    code_hash,
    git_commit,
    git_modified,
    load_provenance,
    package_versions,
    values_hash,
)
from synthdrive.forecasting.evaluate import load_scene_errors
from synthdrive.training.checkpoints import load_metadata

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = {
    "pretrain": "synthdrive.pretraining.pretrain",
    "finetune": "synthdrive.finetuning.finetune",
    "evaluate": "synthdrive.forecasting.forecast_scenes",
}
"""Stages that record how they made their artifacts, with the modules whose code they record."""
ENTRIES = (
    "synthdrive.ingestion.argoverse1",
    "synthdrive.ingestion.scene_subsets",
    "synthdrive.augmentation.augment_maps",
    "synthdrive.synthesis.synthesize",
    "synthdrive.forecasting.baselines",
    "synthdrive.forecasting.evaluate",
    *RECORDED.values(),
)
"""Modules of the package that a run uses; the code that they can import determines its numbers."""
UNCHANGING = 1e-12  # a learning rate that leaves a pre-trained network unchanged
KEPT_CHARACTERS = 2000  # characters of a failed stage's output that an error shows

_running: set[subprocess.Popen[bytes]] = set()
_stopping = Event()


def study_code() -> str:
    """Return the SHA-256 of all code that determines a run's numbers: of the package and of this study."""
    own = ("plan", "realism", "stores", "execute", "results", "schedule")
    files = {name: file_hash(Path(__file__).with_name(f"{name}.py")) for name in own}
    return values_hash({entry: code_hash(entry) for entry in ENTRIES} | files)


def modified_files(repository: Path = REPOSITORY) -> list[str] | None:
    """Return the files that differ from the commit, except the study's results and pages; None without git."""
    watched = ("src", "stages", "studies/**/*.py", "studies/**/*.yaml", "profiles", "params.yaml", "requirements.lock")
    specs = [f":(top,glob){path}" if "*" in path else f":(top){path}" for path in watched]
    command = ["git", "-C", str(repository), "status", "--porcelain", "--", *specs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [line[3:] for line in done.stdout.splitlines()]


def uncommitted() -> str:
    """Say which files differ from the commit; empty if none does."""
    changed = modified_files()
    if changed is None:
        return "no git repository"
    if not changed and git_modified():  # what a stage's provenance counts
        changed = ["tracked .py or .toml files"]
    return f"{', '.join(changed[:5])}: not committed" if changed else ""


def run_stage(stage: str, options: Mapping[str, object], log: Path) -> float:
    """Run `stages/<stage>.py` with these options on one thread, append its output to a log, and return its CPU seconds.

    Raises:
        SynthDriveError: the stage failed, or the study is being stopped.
    """
    if _stopping.is_set():
        raise SynthDriveError(f"{stage} was not started: the study is being stopped")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SYNTHDRIVE_WORKERS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(REPOSITORY / "stages" / f"{stage}.py")]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with log.open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _running.add(process)
        _, status, usage = os.wait4(process.pid, 0)
        _running.discard(process)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SynthDriveError(f"{stage} failed ({log}):\n{log.read_text()[-KEPT_CHARACTERS:]}")
    return usage.ru_utime + usage.ru_stime


def stop_stages() -> None:
    """End every running stage and start no other one; the next session continues the training."""
    _stopping.set()
    for process in list(_running):
        process.terminate()


@dataclass(frozen=True)
class Executor:
    """Makes runs.

    Attributes:
        stores: the data.
        commit: commit of the repository; modified: whether files differ from it.
        code: SHA-256 of the code that determines a run's numbers (`study_code`).
    """

    stores: Stores
    commit: str | None
    modified: bool
    code: str

    def parameters_of(self, run: Run, recipe: Recipe | None) -> dict[str, Any]:
        """Return the whole content of a run's parameter file, which has only the run's variant."""
        content = deepcopy(dict(self.stores.parameters))
        if run.variant == BASELINE:
            return content
        variant = deepcopy(content["variants"][run.variant])
        for section in ("model", "pretrain", "finetune"):
            variant.setdefault(section, {})
        if run.percent == 0:
            changes: dict[str, Any] = {"epochs": 1, "learning_rate": UNCHANGING, "warmup_epochs": 0.0}
            merge(variant["finetune"], changes | {"fraction": min(self.stores.plan.percents) / 100.0})
        else:
            variant["finetune"]["fraction"] = run.percent / 100.0
        if recipe is not None:
            merge(variant, {"finetune": recipe.finetune, "model": recipe.model})
        content["variants"] = {run.variant: variant}
        content["seeds"] = [run.seed(self.stores.plan.folds)]
        content["from_scratch"], content["run_variants"] = [], [run.variant]
        return content

    def make(self, run: Run, recipe: Recipe | None) -> Result:
        """Make everything that a run needs and that does not exist yet, then the run itself.

        Raises:
            SynthDriveError: a stage failed, and the message contains the end of its output; or code or commit have
                changed since the executor was made.
        """
        folder = self.stores.make_scenes(run)
        home = folder / "runs" / run.name
        seconds: dict[str, float] = {}
        parameters = self.parameters_of(run, recipe)
        file = home / "params.yaml"
        write_parameters(parameters, file)
        seed = run.seed(self.stores.plan.folds)
        shared: dict[str, object] = {"params": file, "runs": folder / "states", "provenance": home / "provenance"}
        given: dict[str, object]
        if run.variant == BASELINE:
            forecasts = home / "forecasts" / BASELINE
            given = {"scenes": folder / "judged", "out": home / "forecasts", "metrics": home, "params": file}
            seconds["evaluate"] = run_stage("evaluate_baselines", given, home / "log")
            self.check_unchanged(run, {}, {}, seconds)
            return self._result(run, recipe, forecasts, parameters, {}, seconds)
        windows, made_windows = self.stores.make_windows(
            run, lambda stage, words: run_stage(stage, words, home / "log")
        )
        seconds["windows"] = made_windows
        name = f"{run.variant}-{seed}"
        identity: dict[str, object] = {"variant": run.variant, "seed": seed}
        pretrained = None
        if windows is not None:
            pretrained = folder / "pretrained" / name
            with self.stores.only_one(pretrained):
                if not pretrained.is_dir():
                    given = {**identity, "synthetic": windows, "out": pretrained, **shared}
                    given["provenance"] = folder / "provenance"
                    seconds["pretrain"] = run_stage("pretrain", given, home / "log")
        checkpoint = folder / run.checkpoint(self.stores.plan.folds)
        if not checkpoint.is_dir():
            given = {**identity, "scenes": folder / "train", "out": checkpoint, **shared}
            given |= {} if pretrained is None else {"pretrained": pretrained}
            seconds["finetune"] = run_stage("finetune", given, home / "log")
        forecasts = home / "forecasts"
        given = {"checkpoint": checkpoint, "scenes": folder / "judged", "out": forecasts, "device": "cpu", **shared}
        seconds["evaluate"] = run_stage(
            "evaluate", given | {"metrics": home / "metrics.json", "workers": 1}, home / "log"
        )
        records = {stage: load_provenance(home / "provenance", stage, name) for stage in ("finetune", "evaluate")}
        records["pretrain"] = load_provenance(folder / "provenance", "pretrain", name)
        made = {"pretrain": pretrained, "finetune": checkpoint, "evaluate": forecasts}
        self.check_unchanged(run, records, made, seconds)
        inputs = {stage: record["made_by"]["inputs"] for stage, record in records.items() if record}
        return self._result(run, recipe, forecasts, parameters, inputs, seconds, checkpoint)

    def check_unchanged(
        self,
        run: Run,
        records: Mapping[str, Mapping[str, Any]],
        made: Mapping[str, Path | None],
        seconds: Mapping[str, float],
    ) -> None:
        """Check that a run's stages used the code and the commit that its result will name.

        Args:
            run: the run.
            records: stage -> its provenance record, empty if it has none; made: stage -> the folder that it wrote.
            seconds: the stages that this run started. An earlier session may have started the others, with the same
                code at another commit.

        Raises:
            InputError: a stage used other code, modified files or another commit, or files are modified now.
        """
        for stage, record in records.items():
            if not record and stage not in seconds:
                continue
            found = record.get("made_by", {})
            expected: dict[str, Any] = {"stage_code": code_hash(RECORDED[stage])}  # as when this session began
            expected["modified"] = self.modified and found.get("modified")
            if stage in seconds:
                expected["commit"] = self.commit
            for key, value in expected.items():
                if found.get(key) != value:
                    advice = "" if key == "commit" else f"restore the files, delete {made[stage]} and "
                    advice = f"Files changed while the study ran: {advice}start it again."
                    raise InputError(f"{run.name}: record of {stage}", f"{key} {found.get(key)}", str(value), advice)
        if not self.modified and (what := uncommitted()):
            raise InputError(run.name, what, "committed files only", "Files changed while the study ran.")

    def _result(
        self,
        run: Run,
        recipe: Recipe | None,
        forecasts: Path,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Any],
        seconds: Mapping[str, float],
        checkpoint: Path | None = None,
    ) -> Result:
        names, errors = load_scene_errors(forecasts)
        provenance = {
            "train_scenes": load_metadata(checkpoint)["data"]["used"] if checkpoint and run.percent else 0,
            "commit": self.commit,
            "modified": self.modified,
            "code": self.code,
            "parameters_sha256": values_hash(parameters),
            "inputs": inputs,
            "python": platform.python_version(),
            "packages": package_versions(),
            "threads": 1,
        }
        kept = {name: errors[name] for name in (*STORED, MISSED)}
        changes = {} if recipe is None else {"finetune": recipe.finetune, "model": recipe.model}
        return Result(run, changes, scenes_hash(names), kept, seconds, provenance)


def make_executor(stores: Stores) -> Executor:
    """Return an executor of the current code."""
    return Executor(stores, git_commit(), bool(uncommitted()), study_code())


def claim_work_folder(executor: Executor) -> None:
    """Note in the work folder what its data and models are made with; order of variants and tests do not matter.

    Raises:
        SynthDriveError: the folder was made with other code, parameters or recipes.
    """
    stores = executor.stores
    plan = {key: value for key, value in asdict(stores.plan).items() if key != "tests"}
    made_with = {"code": executor.code, "parameters": values_hash(stores.parameters), "plan": values_hash(plan)}
    file = stores.work / "made_with.json"
    if not file.is_file():
        write_json(file, made_with)
    elif other := sorted(key for key, value in made_with.items() if read_json(file).get(key) != value):
        raise SynthDriveError(
            f"{file}: other {', '.join(other)} than now; delete {stores.work} or choose another work folder (--work)"
        )
