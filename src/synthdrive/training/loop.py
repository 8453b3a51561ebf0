"""Training loop of pre-training and fine-tuning, on a CPU or on one or more GPUs, resumable after every epoch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.parallel import track
from synthdrive.core.seeding import item_seed
from synthdrive.training.checkpoints import EpochState, ResumeFolder, load_exactly
from synthdrive.training.data import Part, SceneBatches
from synthdrive.training.devices import division
from synthdrive.training.monitoring import ROWS_PER_EPOCH, Curve, Watched, look_again, report_non_finite
from synthdrive.training.optimisation import Adam, learning_rate

Item = TypeVar("Item")

GPU_CHECK_STEPS = 16  # reading the loss makes a GPU wait; on a CPU it is read at every step


@dataclass
class History:
    """Plain values in a run's resume state, beside its tensors.

    Attributes:
        curve: rows of the training curve.
        seconds, waiting: seconds spent in the loop, and those of them spent waiting for data.
        resumed_after: numbers of epochs after which the run was resumed.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    waiting: float = 0.0
    resumed_after: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Fit:
    """Summary of a training run; the model itself was trained in place.

    Attributes:
        curve: rows of the training curve.
        last_epoch: means over the last epoch of the loss, its parts and gradient norms.
        encoder: number of tensors, how many of them changed, relative change of all, mean gradient norm of each epoch.
        training: numbers of epochs, scenes and steps, and the batch size.
        course: devices, threads, speed and interruptions on this machine; belongs to the provenance, not the result.
        seen: outputs for the watched examples, (1 + epochs, ...) each; empty except in the main process.
    """

    curve: list[dict[str, float]]
    last_epoch: dict[str, float]
    encoder: dict[str, Any]
    training: dict[str, Any]
    course: dict[str, Any]
    seen: dict[str, Tensor]


def fit(
    model: nn.Module,
    batches: SceneBatches,
    parameters: OptimisationParameters,
    accelerator: Accelerator,
    run: ResumeFolder | None = None,
    label: str = "training",
    inspection: Path = Path(".run/non-finite"),
    watched: Watched | None = None,
) -> Fit:
    """Train a model whose `forward(batch)` returns `Losses` and whose encoder is `model.encoder`.

    The loss of a step is the mean over the global batch, for any number of devices and forward passes.

    Args:
        model: the network, trained in place.
        batches: the training data.
        parameters: parameters of the optimisation.
        accelerator: accelerator of this process.
        run: folder of the states after each epoch, from which an interrupted run continues.
        label: beginning of the lines that are printed.
        inspection: folder in which a batch with a non-finite loss is saved.
        watched: examples to evaluate before training and after each epoch.

    Raises:
        NonFiniteLossError: the loss or its gradient is not finite.
    """
    model.to(accelerator.device)
    adam = Adam(model.named_parameters(), parameters.ema_decay)
    start = {name: tensor.clone() for name, tensor in encoder_tensors(model).items()}
    history, epochs_done, seen = _resume(model, adam, run)
    watched = watched if accelerator.is_main_process else None
    if watched is not None and not epochs_done:
        seen = look_again(watched, model, {})
    trainer = _Trainer(model, adam, batches, parameters, accelerator, inspection, Curve(history.curve))
    if accelerator.is_main_process and run is not None:
        if epochs_done:
            print(f"{label}: resumed after epoch {epochs_done} from {run.path}", flush=True)
        elif reason := run.why_not_resumed():
            print(f"{label}: starts from the beginning: {reason}", flush=True)
    for row in history.curve:
        trainer.log(row)
    for epoch in range(epochs_done, parameters.epochs):
        clock = time.perf_counter()
        waited = trainer.epoch(epoch, label)
        history.seconds += (seconds := time.perf_counter() - clock)
        history.waiting += waited
        history.curve = trainer.curve.rows
        if watched is not None:
            seen = look_again(watched, model, seen)
        if accelerator.is_main_process:
            print(_epoch_line(label, epoch, parameters.epochs, trainer.curve, batches, seconds, waited), flush=True)
            if run is not None:
                run.save(EpochState(epoch + 1, model.state_dict(), adam.state(), vars(history), seen))
    adam.take_average()
    accelerator.wait_for_everyone()
    return _summary(model, start, batches, parameters, accelerator, history, seen)


def encoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's parameters by name, without gradients."""
    encoder = model.get_submodule("encoder")
    return {f"encoder.{name}": value.detach() for name, value in encoder.named_parameters()}


class _Trainer:
    """Training in one process."""

    def __init__(
        self,
        model: nn.Module,
        adam: Adam,
        batches: SceneBatches,
        parameters: OptimisationParameters,
        accelerator: Accelerator,
        inspection: Path,
        curve: Curve,
    ) -> None:
        self.adam, self.batches, self.parameters, self.accelerator = adam, batches, parameters, accelerator
        self.inspection, self.curve = inspection, curve
        # A single process needs no wrapper, and preparing one takes 1.3 s for imports.
        self.prepared = accelerator.prepare(model) if accelerator.num_processes > 1 else model
        self.forward = torch.compile(self.prepared) if parameters.compile else self.prepared
        self.check_steps = 1 if accelerator.device.type == "cpu" else GPU_CHECK_STEPS
        self._unchecked: list[tuple[list[Part], Tensor]] = []

    def epoch(self, epoch: int, label: str) -> float:
        """Train for one epoch; return the seconds spent waiting for data."""
        torch.manual_seed(item_seed(self.batches.seed, "epoch", epoch))
        steps, waited = self.batches.steps, [0.0]
        row_steps = max(1, steps // ROWS_PER_EPOCH)
        parts: list[Part] = []
        losses: Tensor | None = None
        names: list[str] = []
        title, total = f"{label}: epoch {epoch + 1}", self.batches.parts_per_epoch
        for part, batch in track(_timed(self.batches.epoch(epoch), waited), title, total, unit="batches"):
            names, value = self._backward(part, batch)
            losses = value if losses is None else losses + value
            parts.append(part)
            if not part.last:
                continue
            done = part.step + 1
            rate = learning_rate(epoch * steps + part.step, steps, self.parameters)
            figures = self._step(rate, losses, parts, epoch, last=done == steps)
            self.curve.add([*names, "gradient_norm", "encoder_gradient_norm"], figures)
            if done % row_steps == 0 or done == steps:
                self.log(self.curve.close_row(epoch + done / steps, epoch * steps + done, rate))
            parts, losses = [], None
        return waited[0]

    def log(self, row: dict[str, float]) -> None:
        """Pass a row of the curve to the accelerator's tracker, if it has one."""
        values = {name: value for name, value in row.items() if name != "step"}
        self.accelerator.log(values, step=int(row["step"]))

    def _backward(self, part: Part, batch: Any) -> tuple[list[str], Tensor]:
        """Add a part's gradient; return its share of the batch's loss and of the terms: names and values (N,)."""
        wait = contextlib.nullcontext() if part.last else self.accelerator.no_sync(self.prepared)
        with wait:
            with self.accelerator.autocast():
                losses = self.forward(batch.to(self.accelerator.device))
            # Gradients are averaged over devices, but each device holds a share of a sum: hence the factor.
            self.accelerator.backward(losses.total * (part.weight * self.accelerator.num_processes))
        figures = torch.stack([losses.total.detach().float(), *(value.float() for value in losses.parts.values())])
        return ["loss", *losses.parts], figures * part.weight

    def _step(self, rate: float, losses: Tensor, parts: list[Part], epoch: int, last: bool) -> Tensor:
        """Take an optimiser step; return (N,) the loss, its terms, and the gradient norms of model and encoder."""
        gradients = self.adam.gradients()
        norm = get_total_norm(gradients.values())
        encoder = [value for name, value in gradients.items() if name.startswith("encoder.")]
        encoder_norm = get_total_norm(encoder) if encoder else torch.zeros_like(norm)
        if self.accelerator.num_processes > 1:
            losses = self.accelerator.reduce(losses, "sum")
        figures = torch.cat([losses, torch.stack([norm, encoder_norm]).to(losses)])
        self._unchecked.append((parts, torch.stack([losses[0], norm.to(losses)])))
        if len(self._unchecked) >= self.check_steps or last:
            self._check(epoch)
        if self.parameters.max_grad_norm:
            clip_grads_with_norm_(self.adam.parameters.values(), self.parameters.max_grad_norm, norm)
        self.adam.step(rate)
        self.adam.zero_grad()
        return figures

    def _check(self, epoch: int) -> None:
        """Stop if the loss or gradient of an unchecked step is not finite."""
        values = torch.stack([value for _, value in self._unchecked])  # [N, 2]
        for (parts, _), (loss, norm) in zip(self._unchecked, values.tolist(), strict=True):
            if not (abs(loss) < float("inf") and norm < float("inf")):
                device = self.accelerator.process_index
                report_non_finite(self.inspection, self.batches, parts, epoch, loss, norm, device)
        self._unchecked.clear()


def _resume(model: nn.Module, adam: Adam, run: ResumeFolder | None) -> tuple[History, int, dict[str, Tensor]]:
    """Load the newest state, if any; return the history, the number of epochs done, and the watched outputs."""
    state = run.load() if run is not None else None
    if state is None:
        return History(), 0, {}
    load_exactly(model, state.model, "resume state")
    adam.load_state(state.optimiser)
    history = History(**state.history)
    history.resumed_after.append(state.epochs)
    return history, state.epochs, state.seen


def _timed(items: Iterator[Item], waited: list[float]) -> Iterator[Item]:
    """Yield the items, and add the seconds spent waiting for each to `waited[0]`."""
    while True:
        clock = time.perf_counter()
        item = next(items, None)
        waited[0] += time.perf_counter() - clock
        if item is None:
            return
        yield item


def _epoch_line(
    label: str, epoch: int, epochs: int, curve: Curve, batches: SceneBatches, seconds: float, waited: float
) -> str:
    means = curve.epoch_means(epoch + 1)
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in means.items())
    speed = f"{len(batches.indices) / seconds:.0f} scenes/s, {100 * waited / seconds:.0f} % waiting for data"
    return f"{label}: epoch {epoch + 1} of {epochs}: {figures}; {speed}"


def _summary(
    model: nn.Module,
    start: dict[str, Tensor],
    batches: SceneBatches,
    parameters: OptimisationParameters,
    accelerator: Accelerator,
    history: History,
    seen: dict[str, Tensor],
) -> Fit:
    curve = Curve(history.curve)
    end = encoder_tensors(model)
    differences = [torch.linalg.vector_norm((end[name] - start[name]).double()) for name in start]
    sizes = [torch.linalg.vector_norm(value.double()) for value in start.values()]
    change = torch.stack(differences).norm() / torch.stack(sizes).norm().clamp(min=1e-30)
    per_epoch = [curve.epoch_means(epoch + 1) for epoch in range(parameters.epochs)]
    scenes = len(batches.indices)
    return Fit(
        curve=history.curve,
        last_epoch=per_epoch[-1],
        encoder={
            "tensors": len(start),
            "tensors_moved": sum(bool(difference > 0) for difference in differences),
            "relative_change": float(change),
            "gradient_norm_per_epoch": [means["encoder_gradient_norm"] for means in per_epoch],
        },
        training={
            "epochs": parameters.epochs,
            "scenes": scenes,
            "steps": batches.steps * parameters.epochs,
            "global_batch_size": parameters.global_batch_size,
        },
        course={
            **division(accelerator),
            "parts_per_step": batches.sharing.parts(min(parameters.global_batch_size, scenes)),
            "seconds": round(history.seconds, 3),
            "scenes_per_second": round(scenes * parameters.epochs / max(history.seconds, 1e-9), 1),
            "waiting_for_data": round(history.waiting / max(history.seconds, 1e-9), 4),
            "resumed_after": history.resumed_after,
        },
        seen=seen,
    )
