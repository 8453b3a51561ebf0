"""Copies the best models of the study to where DVC tracks them, writes their cards, and declares them as artifacts.

A model is published only if its bytes are those that its result was computed with. Its card gives its training data,
its errors beside those of simple references on the same scenes, how to use it, and its licence.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from studies.argoverse1_folds.analysis import SHARES, metric_label, unit_of
from studies.argoverse1_folds.plan import ALL_SCENES, BASELINE, MAIN, SCRATCH, Plan, Recipe, Run
from studies.argoverse1_folds.results import PRIMARY, Result, Results
from studies.markdown import table
from synthdrive.core.artifacts import atomic_directory, atomic_file, file_hash
from synthdrive.core.errors import InputError
from synthdrive.training.checkpoints import load_forecaster

MODELS = "models"
PUBLISHED = (Run(MAIN, 0, 0), Run(MAIN, 10, 0), Run(MAIN, ALL_SCENES, 0))
"""The best variant, with each amount of real data that a user may have: none, few scenes, all scenes of fold 0."""
LICENCE = "CC-BY-NC-SA-4.0"
TAGS = ["trajectory-forecasting", "pre-trained", "argoverse1"]
HEAD = "# The study's models as DVC artifacts, written by: python -m studies.argoverse1_folds publish\n"


def publish_models(work: Path, results: Results, out: Path, plan: Plan) -> list[Path]:
    """Copy models to `<out>/models/<name>`, write their cards beside them, and declare them in `<out>/dvc.yaml`.

    DVC tracks the models; docs/sharing.md says how to push them to a remote.

    Args:
        work: work folder of the study, with its models; results: all results; out: folder of the study's pages.
        plan: the study's plan.

    Returns:
        The folders of the models.

    Raises:
        InputError: a result or a model is missing, or a model is not the one that its result was computed with.
    """
    checkpoints = {run: _evaluated_checkpoint(run, work, results, plan) for run in PUBLISHED}
    folders = [_publish(run, checkpoint, results, out, plan) for run, checkpoint in checkpoints.items()]
    declared = {
        published_name(run): {
            "path": f"{MODELS}/{published_name(run)}",
            "type": "model",
            "desc": f"DenseTNT, {_training_data(run, results.runs[run])} ({LICENCE})",
            "labels": [*TAGS],
        }
        for run in PUBLISHED
    }
    with atomic_file(out / "dvc.yaml") as partial:
        partial.write_text(HEAD + yaml.safe_dump({"artifacts": declared}, sort_keys=False, width=120), encoding="utf-8")
    return folders


def published_name(run: Run) -> str:
    """Return the name of a published model; DVC allows no underscore in it."""
    return f"{run.variant.replace('_', '-')}-{run.percent}"


def _evaluated_checkpoint(run: Run, work: Path, results: Results, plan: Plan) -> Path:
    checkpoint = work / str(run.fold) / run.checkpoint(plan.folds)
    result = results.runs.get(run)
    if result is None:
        raise InputError(f"results: {run.name}", "no result", "a finished run; `run` continues the study")
    if not checkpoint.is_dir():
        advice = f"the model; `run` with a copy of the results without {run.name}.json trains it again"
        raise InputError(checkpoint, "no such folder", advice)
    known, found = result.provenance["inputs"]["evaluate"]["checkpoint"], file_hash(checkpoint)
    if found != known:
        raise InputError(checkpoint, f"SHA-256 {found}", f"{known}, as in the result of {run.name}")
    return checkpoint


def _publish(run: Run, checkpoint: Path, results: Results, out: Path, plan: Plan) -> Path:
    network, _ = load_forecaster(checkpoint)
    size = sum(tensor.numel() for tensor in network.parameters())
    folder = out / MODELS / published_name(run)
    with atomic_directory(folder) as partial:
        shutil.copytree(checkpoint, partial, dirs_exist_ok=True)
    with atomic_file(folder.with_suffix(".md")) as partial:
        partial.write_text(model_card(run, results, size, plan), encoding="utf-8")
    return folder


def model_card(run: Run, results: Results, size: int, plan: Plan) -> str:
    """Return the card of a published model, as Markdown with the header that model hubs read.

    Args:
        run: the run that trained it; results: all results; size: number of its parameters; plan: the study's plan.
    """
    result, name = results.runs[run], published_name(run)
    header = {"license": LICENCE.lower(), "tags": TAGS, "library_name": "synthdrive"}
    recipe = Recipe(**result.recipe).text if result.recipe else ""
    lines = ["---", yaml.safe_dump(header, sort_keys=False).strip(), "---", "", f"# {name}", ""]
    lines += [
        "A network that forecasts a vehicle's next 3 s as six trajectories from 2 s of observed traffic and a map. "
        f"DenseTNT with {size:,} parameters, {_training_data(run, result)}. Seed {run.seed(plan.folds)}. "
        "The speeds, noise and other statistics of the synthetic data are those of 10 % of the training scenes.",
        "",
        "## Errors",
        "",
        f"On the {len(result.errors['minFDE6']):,} scenes of fold {run.fold} of [the study](../README.md), none of "
        "which was used in training; all training scenes are at least 100 m away from them. Errors vary between places "
        "and seeds: see the intervals over all folds in [results.md](../results.md). Goals were optimised from 96 "
        "starts (`evaluate.num_restarts`); the default is 32.",
        "",
        *_errors(run, results, plan),
        "",
        "## Use",
        "",
        "```python",
        *_example(name),
        "```",
        "",
        "## Licence",
        "",
        f"The network was trained on, or with statistics of, Argoverse 1 (Argo AI), which is licensed under "
        f"[{LICENCE}](https://creativecommons.org/licenses/by-nc-sa/4.0/). The weights are under the same licence: "
        "non-commercial use only, with attribution; derived works must use the same terms.",
        "",
        "## How it was made",
        "",
        f"`{run.name}` of the study, at commit {result.provenance['commit']}"
        f"{recipe and f', fine-tuned with {recipe}'}. `metadata.json` holds its parameters.",
        "",
    ]
    return "\n".join(lines)


def _training_data(run: Run, result: Result) -> str:
    scenes = result.provenance["train_scenes"]
    tuned = f"then fine-tuned on {scenes:,} recorded scenes" if scenes else "without fine-tuning"
    return f"pre-trained on the forecasting task, on synthetic driving data of Miami and Pittsburgh, {tuned}"


def _errors(run: Run, results: Results, plan: Plan) -> list[str]:
    rows = [("this model", run)]
    if run.percent:
        rows.append(
            (f"{plan.variants[SCRATCH].label.lower()}, same training scenes", Run(SCRATCH, run.percent, run.fold))
        )
    rows.append(("lane following", Run(BASELINE, 0, run.fold)))
    head = ["", *(f"{metric_label(metric)} ({unit_of(metric)})" for metric in PRIMARY)]
    return table(head, [[label, *_means(results.runs[each])] for label, each in rows if each in results.runs])


def _means(result: Result) -> Sequence[str]:
    return [f"{np.mean(result.metric(one)) * (100 if one in SHARES else 1):.2f}" for one in PRIMARY]


def _example(name: str) -> list[str]:
    return [
        "from pathlib import Path",
        "",
        "import synthdrive as sd",
        "import torch",
        "",
        f'network, _ = sd.load_forecaster(Path("studies/argoverse1_folds/{MODELS}/{name}"))',
        'parameters = sd.load_section(sd.EvaluateParameters, "evaluate")',
        'forecaster = sd.GoalForecaster(network, parameters, torch.device("cpu"))',
        'store = sd.SceneStore.load("data/scenes/val")  # scenes that stages/ingest.py has read',
        "found = forecaster.forecast(store, range(len(store)))",
        "print(found.trajectories[0])  # (6, 30, 2) metres from store.origins[0]",
    ]
