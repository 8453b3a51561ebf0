"""Losses of the pre-trained reconstruction networks at places that they did not see, beside those of simple predictors.

The windows of a fold avoid the places of its evaluated scenes. The windows of the next fold that it lacks
show whether the network generalises to streets on which it was not pre-trained.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from studies.argoverse1_folds.plan import ALL_SCENES, PAPER, Plan, Run
from synthdrive.config.training import RECONSTRUCTING, ModelParameters, PretrainParameters
from synthdrive.core.artifacts import file_hash, read_json, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import code_hash
from synthdrive.core.schema import from_values
from synthdrive.pretraining.pretrain import pretraining_model, usable_windows
from synthdrive.pretraining.reconstruction_floors import WindowSelection, measure_reconstruction
from synthdrive.pretraining.reconstructor import Reconstructor
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import load_exactly, load_metadata, load_model_state
from synthdrive.training.devices import make_accelerator
from synthdrive.training.training_run import seed_model

RECONSTRUCTION = "reconstruction"  # name of the folder of the files
Losses = Mapping[str, Mapping[str, float] | None]


@dataclass(frozen=True)
class Reconstruction:
    """Losses of a network pre-trained on one fold.

    Attributes:
        variant: variant of the plan; fold: its fold; seed: its training seed.
        losses: `lanes` and `trajectory` -> name -> loss, see `measure_reconstruction`.
    """

    variant: str
    fold: int
    seed: int
    losses: Losses


def measure_reconstructions(work: Path, out: Path, plan: Plan) -> None:
    """Measure the networks in the work folder that have not been measured yet, and write one JSON file for each.

    Args:
        work: work folder of the study; out: folder of the files.

    Raises:
        SynthDriveError: a checkpoint or a store of windows is damaged.
    """
    for variant, fold, seed, checkpoint in _networks(work, plan):
        name = checkpoint.name
        file, next_fold = out / f"{name}.json", (fold + 1) % plan.folds
        windows, others = (work / str(each) / PAPER for each in (fold, next_fold))
        if file.is_file() or not others.is_dir():
            continue
        unseen = unseen_windows(windows, others)
        losses = _losses(checkpoint, windows, others, unseen)
        made_by = {"model": file_hash(checkpoint), "windows": file_hash(windows), "others": file_hash(others)}
        made_by["code"] = code_hash(measure_reconstruction.__module__)
        content = {"variant": variant, "fold": fold, "seed": seed, "unseen": len(unseen), "losses": losses}
        write_json(file, content | {"made_by": made_by})
        print(f"reconstruction: {name} measured", file=sys.stderr, flush=True)


def load_reconstructions(folder: Path, plan: Plan) -> list[Reconstruction]:
    """Read the files that `measure_reconstructions` wrote, by variant in the plan's order and by seed.

    Raises:
        InputError: a file is damaged or of an unknown variant.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        try:
            one = Reconstruction(*(content[key] for key in ("variant", "fold", "seed", "losses")))
        except (KeyError, TypeError) as error:
            raise InputError(path, f"{type(error).__name__}: {error}", "losses written by this study") from None
        if one.variant not in plan.variants:
            raise InputError(path, f"variant {one.variant!r}", f"one of {', '.join(plan.variants)}")
        found.append(one)
    order = list(plan.variants)
    return sorted(found, key=lambda one: (order.index(one.variant), one.seed))


def unseen_windows(windows: Path, others: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the windows (N,) of the store `others` that are not in the store `windows`.

    Raises:
        InputError: there are none.
    """
    seen = set(SceneStore.load(windows).scene_ids)
    rows = [row for row, name in enumerate(SceneStore.load(others).scene_ids) if name not in seen]
    if not rows:
        raise InputError(others, "no window", f"windows that are not in {windows}")
    return np.array(rows, dtype=np.int64)


def _networks(work: Path, plan: Plan) -> Iterator[tuple[str, int, int, Path]]:
    """Yield variant, fold, seed and checkpoint of every reconstruction network in the work folder."""
    for variant, described in plan.variants.items():
        for fold in range(plan.folds):
            for repeat in range(plan.repeats):
                seed = Run(variant, ALL_SCENES, fold, repeat).seed(plan.folds)
                checkpoint = work / str(fold) / "pretrained" / f"{variant}-{seed}"
                if described.windows == PAPER and checkpoint.is_dir():
                    objective = load_metadata(checkpoint)["parameters"]["pretrain"]["objective"]
                    if objective in RECONSTRUCTING:
                        yield variant, fold, seed, checkpoint


def _losses(checkpoint: Path, windows: Path, others: Path, unseen: np.ndarray[Any, np.dtype[np.int64]]) -> Losses:
    metadata = load_metadata(checkpoint)
    model = from_values(ModelParameters, metadata["parameters"]["model"], f"{checkpoint}: model")
    parameters = from_values(PretrainParameters, metadata["parameters"]["pretrain"], f"{checkpoint}: pretrain")
    accelerator, store = make_accelerator(parameters), SceneStore.load(windows)

    def untrained() -> Reconstructor:
        seed_model("pretrain", metadata["seed"])
        return cast(Reconstructor, pretraining_model(model, parameters, store.timing))

    network = untrained()
    load_exactly(network, load_model_state(checkpoint), checkpoint)
    used = usable_windows(store, parameters, metadata["seed"], windows)
    return measure_reconstruction(
        network.to(accelerator.device),
        untrained,
        parameters,
        WindowSelection(windows, used),
        WindowSelection(others, unseen),
        metadata["seed"],
        accelerator,
    )
