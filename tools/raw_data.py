"""Check, before the pipeline starts, that the raw data named in params.yaml exists."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthdrive.config.data import DataParameters
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from tools.dvc_commands import LOCK_FILE, locked_stages

RECORDED = "sample"  # the source that the pipeline records itself
NAMES = {"argoverse1": "Argoverse 1", "argoverse2": "Argoverse 2"}
ARCHIVES = {  # for each data.source: the official archives, and the folders that they unpack to
    "argoverse1": {
        "hd_maps.tar.gz": "map_files",
        "forecasting_train_v1.1.tar.gz": "train",
        "forecasting_val_v1.1.tar.gz": "val",
    },
    "argoverse2": {"train.tar": "train", "val.tar": "val"},
}


def check_raw_data(repository: Path) -> str | None:
    """Check the folder `data.raw`; return advice on what to do next, or None.

    The sample is not checked, because the pipeline records it, and neither are data that dvc.lock already records,
    because their artifacts may have been pulled.

    Raises:
        InputError: the maps or a split are missing, or dvc.lock is damaged.
    """
    data = load_section(DataParameters, "data", repository / DEFAULT_PATH)
    if data.source == RECORDED or _is_in_lock(data.raw, repository):
        return None
    from synthdrive.ingestion.packing import find_source  # takes a second

    folder, missing = repository / data.raw, []
    for archive, unpacked in ARCHIVES[data.source].items():
        try:
            find_source(folder, archive.partition(".tar")[0], unpacked)
        except InputError:
            missing.append(archive)
    if missing:
        command = "dvc repro report" if data.source == "argoverse2" else "make repro"
        todo = f"Put the official tarballs there as they are, then: {command}"
        raise InputError(
            folder, f"no {', '.join(missing)}", f"maps, train and val scenes of {NAMES[data.source]}", todo
        )
    if Path(data.raw).is_absolute() or (repository / f"{data.raw}.dvc").is_file():
        return None
    return (
        f"for queued experiments, let DVC hold the raw data: dvc add {data.raw} && git add {data.raw}.dvc, and commit"
    )


def _is_in_lock(raw: str, repository: Path) -> bool:
    if not (repository / LOCK_FILE).is_file():
        return False
    return any(entry["path"] == raw for entry in locked_stages(repository).get("ingest", {}).get("deps", []))


def main() -> None:
    """Command line: `python -m tools.raw_data`; exit status 2 if something is missing."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with exit_on_error():
        advice = check_raw_data(Path.cwd())
    if advice:
        print(f"data: {advice}")


if __name__ == "__main__":
    main()
