"""Forecasting many scenes: batch by batch, in blocks that survive an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from synthdrive.artifacts import atomic_directory
from synthdrive.errors import InputError
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.parallel import ordered_map
from synthdrive.progress import track
from synthdrive.scenes.scene_store import SceneStore

BLOCK_SCENES = 1024  # forecast scenes that an interruption can cost


class Forecaster(Protocol):
    """Whatever forecasts scenes of a store: a trained model, a baseline."""

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes, in this order; uses nothing after the last observed step."""
        ...


def forecast_scenes(
    forecaster: Forecaster, store: SceneStore, batch_size: int, run_directory: Path | None = None, threads: int = 1
) -> Forecasts:
    """Forecast every scene of a store.

    Args:
        forecaster: called with consecutive scenes, `batch_size` at a time, from several threads if `threads` > 1.
        store: the scenes.
        batch_size: scenes at a time.
        run_directory: where finished blocks wait, so that an interrupted run goes on where it was; its name must
            stand for everything that settles the forecasts. Gone when all is done.
        threads: batches at a time; the forecasts do not depend on it.

    Raises:
        InputError: the store has no scene.
    """
    if len(store) == 0:
        raise InputError("scenes", "no scene", "at least one scene to forecast")
    blocks = [range(first, min(first + BLOCK_SCENES, len(store))) for first in range(0, len(store), BLOCK_SCENES)]
    parts = []
    with ThreadPoolExecutor(threads) as executor:
        for number, block in enumerate(track(blocks, "forecast", len(blocks), "blocks")):
            saved = None if run_directory is None else run_directory / f"block-{number:05d}"
            part = None if saved is None else _finished(saved, store, block)
            if part is None:
                batches = [block[first : first + batch_size] for first in range(0, len(block), batch_size)]
                done = ordered_map(executor, lambda batch: forecaster.forecast(store, batch), batches, 2 * threads)
                part = Forecasts.joined(list(done))
                if saved is not None:
                    with atomic_directory(saved) as partial:
                        part.save(partial)
            parts.append(part)
    if run_directory is not None:
        shutil.rmtree(run_directory)
    return Forecasts.joined(parts)


def _finished(saved: Path, store: SceneStore, block: range) -> Forecasts | None:
    """A block that an earlier run finished; None where it is absent, damaged or of other scenes."""
    if not saved.is_dir():
        return None
    try:
        part = Forecasts.load(saved)
    except InputError:
        return None
    return part if list(part.scene_ids) == [store.scene_ids[index] for index in block] else None
