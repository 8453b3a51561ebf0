"""Fine-tuning of DenseTNT on recorded scenes, from pre-trained weights or from scratch (docs/method.md 4.5, 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthdrive.config.training import (
    NONE,
    FinetuneParameters,
    ModelParameters,
    PretrainParameters,
    load_variant,
    load_variant_section,
)
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import load_provenance, plain_values
from synthdrive.core.timing import read_timing
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import (
    MODEL,
    check_tensor,
    discard_states,
    entry_of,
    load_metadata,
    load_model_state,
)
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator, spread_over_devices
from synthdrive.training.training_run import TrainingRun, execute, scene_batches, seed_model


@dataclass(frozen=True)
class Transfer:
    """Names of the tensors that were transferred from a pre-trained network, and of those that were not.

    Attributes:
        loaded: tensors of the model with pre-trained values.
        fresh: tensors of the model that keep their initial values.
        unused: pre-trained tensors that were not loaded.
    """

    loaded: list[str]
    fresh: list[str]
    unused: list[str]

    def describe(self) -> dict[str, list[str]]:
        """Return plain values for the metadata."""
        return {"loaded": self.loaded, "fresh": self.fresh, "unused": self.unused}

    def __str__(self) -> str:
        parts = (("loaded", self.loaded), ("fresh", self.fresh), ("not used", self.unused))
        return ", ".join(f"{len(names)} tensors {word} ({_top_modules(names)})" for word, names in parts if names)


def transfer(model: nn.Module, pretrained: Mapping[str, Tensor], modules: Sequence[str], where: object) -> Transfer:
    """Copy the tensors of `modules` from a pre-trained model into `model`.

    Args:
        model: the model, changed in place.
        pretrained: tensors of the pre-trained model by name.
        modules: names of modules ("encoder") or of single tensors; may be empty.
        where: the checkpoint, for messages.

    Raises:
        InputError: `model` does not have one of the modules, the models' tensors in them differ in name, shape or
            type, or a value is not finite.
    """
    own = model.state_dict()
    wanted = sorted(name for name in own if _in_modules(name, modules))
    offered = sorted(name for name in pretrained if _in_modules(name, modules))
    for module in modules:
        if not any(_in_modules(name, [module]) for name in wanted):
            tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in own))
            raise InputError(
                f"finetune.load_pretrained_weights: {module}",
                "no such module or tensor",
                f"a module of the model: {tops}",
            )
    if wanted != offered:
        missing, unknown = sorted(set(wanted) - set(offered)), sorted(set(offered) - set(wanted))
        found = f"{len(missing)} tensors missing {missing[:3]}, {len(unknown)} that the model lacks {unknown[:3]}"
        raise InputError(where, found, f"the same tensors under {', '.join(modules)} in both models")
    for name in wanted:
        check_tensor(pretrained[name], own[name], f"{where}: {name}")
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(pretrained[name])
    taken = set(wanted)
    return Transfer(wanted, sorted(own.keys() - taken), sorted(pretrained.keys() - taken))


def _in_modules(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _top_modules(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.split(".")[0] for name in names))


def finetune(run: TrainingRun, scenes: Path, pretrained: Path | None = None) -> None:
    """Fine-tune a variant with one seed, from a pre-trained checkpoint or from scratch, and write its checkpoint.

    Args:
        run: variant, seed and paths.
        scenes: folder of the scene store of recorded scenes.
        pretrained: folder of the pre-training's checkpoint; None for a variant that is trained from scratch.

    Raises:
        InputError: the checkpoint is missing, or was made with another pre-training, seed or model.
        SynthDriveError: parameters or scenes are unsuitable, or the loss is not finite.
    """
    parameters = load_variant_section(FinetuneParameters, "finetune", run.variant, run.parameters)
    model = load_variant_section(ModelParameters, "model", run.variant, run.parameters)
    spread_over_devices()
    accelerator = make_accelerator(parameters, run.live_curves)
    store = SceneStore.load(scenes)
    indices = usable_scenes(store, parameters, run.seed, scenes)
    seed_model("finetune", run.seed)
    network = DenseTNT(model, store.timing, parameters.goal_label_std)
    batches = scene_batches(run, scenes, indices, parameters, accelerator, network.prepare)
    origin, transferred = load_pretrained_weights(network, model, parameters, run, pretrained)
    if accelerator.is_main_process:
        if pretrained is not None:
            discard_states(run.runs, load_provenance(run.provenance, "pretrain", Path(pretrained).name))
        print(f"finetune {run.name}: {transferred}", flush=True)
    inputs = {"scenes": scenes} if pretrained is None else {"scenes": scenes, "pretrained": pretrained}
    execute(
        "finetune",
        run,
        network,
        batches,
        {"model": model, "finetune": parameters},
        inputs,
        accelerator,
        {
            "description": load_variant(run.variant, run.parameters).description,
            "model": plain_values(model),
            "timing": store.timing.plain(),
            "data": {"scenes": len(store), "used": len(indices)},
            "pretrained": origin,
            "transfer": transferred.describe(),
        },
        __name__,
    )


def usable_scenes(store: SceneStore, parameters: FinetuneParameters, seed: int, where: Path) -> Indices:
    """Select the scenes to train on: of those with lanes, the fraction `parameters.fraction`.

    Args:
        store: the scenes.
        parameters: parameters of the fine-tuning.
        seed: training seed, which determines the fraction.
        where: folder of the store, for messages.

    Returns:
        (N,) scenes, ascending.

    Raises:
        InputError: no scene has lanes.
    """
    rows = np.flatnonzero(np.diff(store.lane_offsets) > 0)
    if not len(rows):
        raise InputError(where, f"none of {len(store)} scenes has a lane", "scenes with a map")
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)


def load_pretrained_weights(
    network: DenseTNT,
    model: ModelParameters,
    parameters: FinetuneParameters,
    run: TrainingRun,
    pretrained: Path | None,
) -> tuple[dict[str, Any], Transfer]:
    """Load the pre-trained weights that the parameters name into the network.

    The checkpoint may be of another variant with the same pre-training.

    Args:
        network: the network, changed in place.
        model: sizes of the network.
        parameters: `load_pretrained_weights` names the modules to load.
        run: variant, seed and paths.
        pretrained: folder of the pre-training's checkpoint; None for a variant that is trained from scratch.

    Returns:
        The origin of the weights, for the metadata, and the tensors that were transferred.

    Raises:
        InputError: the checkpoint was made with another pre-training, seed, model or timing, its metadata lack a key,
            its tensors do not fit or are not finite, or the variant is pre-trained and there is no checkpoint.
    """
    wanted = load_variant_section(PretrainParameters, "pretrain", run.variant, run.parameters)
    if pretrained is None:
        if wanted.objective != NONE:
            key = f"{run.parameters}: variants.{run.variant}"
            raise InputError(
                key, f"objective {wanted.objective}, and no checkpoint", "a checkpoint of its pre-training"
            )
        return {"trained": False}, transfer(network, {}, [], run.out)
    metadata = load_metadata(pretrained)
    for key, value in (("stage", "pretrain"), ("seed", run.seed)):
        if metadata[key] != value:
            raise InputError(f"{pretrained}: {key}", repr(metadata[key]), repr(value))
    network.timing.require(read_timing(metadata.get("timing"), f"{pretrained}: timing"), f"{pretrained}: timing")
    sizes = entry_of(metadata, "model", pretrained, dict)
    found = {
        **entry_of(metadata, "parameters.pretrain", pretrained, dict),
        **{f"model.{key}": size for key, size in sizes.items()},
    }
    needed = {**plain_values(wanted), **{f"model.{k}": v for k, v in plain_values(model).items()}}
    differing = sorted(key for key in needed if found.get(key) != needed[key])
    if differing:
        raise InputError(
            f"{pretrained}: {differing[0]}",
            repr(found.get(differing[0])),
            f"{needed[differing[0]]!r}, as in variant {run.variant}: pre-train again",
        )
    origin = {
        "trained": True,
        "sha256": file_hash(Path(pretrained) / MODEL),
        "last_epoch": entry_of(metadata, "last_epoch", pretrained),
        "encoder": entry_of(metadata, "encoder", pretrained),
        "windows": entry_of(metadata, "data.used", pretrained),
    }
    return origin, transfer(network, load_model_state(pretrained), parameters.load_pretrained_weights, pretrained)
