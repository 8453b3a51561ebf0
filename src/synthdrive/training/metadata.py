"""Metadata and curve of a checkpoint: plain JSON and CSV, so that reading or writing them needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import atomic_file, read_json, write_json
from synthdrive.core.errors import InputError

MODEL, METADATA, CURVE = "model.safetensors", "metadata.json", "curve.csv"
RECONSTRUCTIONS = "reconstructions.safetensors"  # of masked pre-training, a few windows
RECONSTRUCTION = "reconstruction.json"  # its losses on held-back windows, beside their floors

LEADING = ("epoch", "step", "learning_rate", "loss")


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write what a checkpoint is."""
    write_json(path, dict(metadata))


def load_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of a checkpoint directory; raises InputError when they are missing or incomplete."""
    path = Path(directory) / METADATA
    metadata = read_json(path)
    if not isinstance(metadata, dict) or not {"stage", "variant", "seed"} <= metadata.keys():
        raise InputError(path, "no stage, variant and seed in it", "the metadata of a checkpoint")
    return metadata


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the training curve as CSV: a row per interval, LEADING columns first."""
    names = {key for row in rows for key in row}
    columns = [name for name in LEADING if name in names] + sorted(names - set(LEADING))
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.8g}" for key, value in row.items()})
