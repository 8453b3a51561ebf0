"""Fine-tuning of DenseTNT on recorded scenes, from pre-trained weights that are named one by one (docs/method.md 4.5, 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthdrive.config.finetune import FinetuneParameters
from synthdrive.config.model import ModelParameters
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import plain_values
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import load_model_state
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator
from synthdrive.training.metadata import load_metadata
from synthdrive.training.resume import discard_states
from synthdrive.training.training_run import TrainingRun, execute, scene_batches, seed_model


@dataclass(frozen=True)
class Transfer:
    """What became of every tensor.

    Attributes:
        loaded: tensors of the model that hold pre-trained values now.
        fresh: tensors of the model that keep their random start.
        unused: pre-trained tensors that the model did not take.
    """

    loaded: list[str]
    fresh: list[str]
    unused: list[str]

    def describe(self) -> dict[str, list[str]]:
        """Plain values for the card."""
        return {"loaded": self.loaded, "fresh": self.fresh, "unused": self.unused}

    def __str__(self) -> str:
        parts = (("loaded", self.loaded), ("fresh", self.fresh), ("left behind", self.unused))
        return ", ".join(f"{len(names)} tensors {word} ({_modules(names)})" for word, names in parts if names)


def transfer(model: nn.Module, pretrained: Mapping[str, Tensor], modules: Sequence[str], where: object) -> Transfer:
    """Copy the tensors of `modules` from a pre-trained model's into `model`.

    Args:
        model: changed in place.
        pretrained: names and tensors of the pre-trained model.
        modules: names of modules ("encoder") or of single tensors; none transfers nothing.
        where: the checkpoint, for the message.

    Raises:
        InputError: a module is in neither model, or its tensors differ in name, shape or type between the two.
    """
    own = model.state_dict()
    wanted = sorted(name for name in own if _within(name, modules))
    offered = sorted(name for name in pretrained if _within(name, modules))
    for module in modules:
        if not any(_within(name, [module]) for name in wanted):
            tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in own))
            raise InputError(f"finetune.transfer: {module}", "no tensor of that name", f"a module of the model: {tops}")
    if wanted != offered:
        missing, unknown = sorted(set(wanted) - set(offered)), sorted(set(offered) - set(wanted))
        found = f"{len(missing)} tensors missing {missing[:3]}, {len(unknown)} that the model lacks {unknown[:3]}"
        raise InputError(where, found, f"the same tensors under {', '.join(modules)} in both models")
    for name in wanted:
        if own[name].shape != pretrained[name].shape or own[name].dtype != pretrained[name].dtype:
            found = f"{pretrained[name].dtype} of shape {tuple(pretrained[name].shape)}"
            raise InputError(f"{where}: {name}", found, f"{own[name].dtype} of shape {tuple(own[name].shape)}")
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(pretrained[name])
    taken = set(wanted)
    return Transfer(wanted, sorted(own.keys() - taken), sorted(pretrained.keys() - taken))


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _modules(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.split(".")[0] for name in names))


def run_finetuning(
    run: TrainingRun, model: ModelParameters, parameters: FinetuneParameters, scenes: Path, pretrained: Path
) -> None:
    """Fine-tune and write the run's checkpoint."""
    accelerator = make_accelerator(parameters)
    store = SceneStore.load(scenes)
    indices = usable_scenes(store, parameters, run.seed, scenes)
    batches = scene_batches(run, scenes, indices, parameters, accelerator)
    seed_model("finetune", run.seed)
    network = DenseTNT(model)
    origin, transferred = take_over(network, model, parameters, run, pretrained)
    if accelerator.is_main_process:
        discard_states(run.runs, load_metadata(pretrained))
        print(f"finetune {run.name}: {transferred}", flush=True)
    execute(
        "finetune",
        run,
        network,
        batches,
        {"model": model, "finetune": parameters},
        {"scenes": scenes, "pretrained": pretrained},
        accelerator,
        {
            "model": plain_values(model),
            "data": {"scenes": len(store), "used": len(indices)},
            "pretrained": origin,
            "transfer": transferred.describe(),
        },
    )


def usable_scenes(store: SceneStore, parameters: FinetuneParameters, seed: int, where: Path) -> Indices:
    """(N,) scenes to train on: those with a lane, and of these the wanted share.

    Raises:
        InputError: none is left.
    """
    rows = np.flatnonzero(np.diff(store.lane_offsets) > 0)
    if not len(rows):
        raise InputError(where, f"none of {len(store)} scenes has a lane", "scenes with a map")
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)


def take_over(
    network: nn.Module, model: ModelParameters, parameters: FinetuneParameters, run: TrainingRun, pretrained: Path
) -> tuple[dict[str, Any], Transfer]:
    """Load what pre-training learned; returns where it comes from, for the card, and what became of each tensor.

    Raises:
        InputError: the checkpoint belongs to another variant or seed, or to another model.
    """
    card = load_metadata(pretrained)
    for key, wanted in (("stage", "pretrain"), ("variant", run.variant), ("seed", run.seed)):
        if card[key] != wanted:
            raise InputError(f"{pretrained}: {key}", repr(card[key]), repr(wanted))
    if not card.get("pretrained"):
        return {"trained": False}, transfer(network, {}, [], pretrained)
    if card["model"] != plain_values(model):
        differing = sorted(key for key, value in plain_values(model).items() if card["model"].get(key) != value)
        found = ", ".join(f"{key} {card['model'].get(key)}" for key in differing)
        raise InputError(
            f"{pretrained}: model", found, f"section model as variant {run.variant} changes it: pre-train again"
        )
    state = load_model_state(pretrained)
    origin = {
        "trained": True,
        "sha256": file_hash(Path(pretrained) / "model.safetensors"),
        "last_epoch": card["last_epoch"],
        "encoder": card["encoder"],
        "windows": card["data"]["used"],
    }
    return origin, transfer(network, state, parameters.transfer, pretrained)
