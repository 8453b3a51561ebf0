"""Live training curves, through the experiment trackers that Accelerate supports (DVCLive, TensorBoard and others)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from synthdrive.core.errors import ParameterError

TRACKER = "SYNTHDRIVE_TRACKER"


def chosen_tracker() -> str | None:
    """Return the name of the tracker in the variable `SYNTHDRIVE_TRACKER`; None if it is unset or empty.

    Raises:
        ParameterError: Accelerate does not know the tracker, or its package is not installed.
    """
    name = os.environ.get(TRACKER)
    installed = sorted(str(tracker) for tracker in get_available_trackers())
    if name and name not in installed:
        expected = f"a tracker whose package is installed ({', '.join(installed) or 'there is none'})"
        raise ParameterError(TRACKER, repr(name), expected)
    return name or None


def start_tracking(accelerator: Accelerator, folder: Path) -> None:
    """Start the accelerator's tracker, if it has one, in an empty folder.

    A resumed run logs its earlier rows again, so that the folder always contains the whole curve. Nothing that a stage
    depends on or writes is read from or written to this folder.

    Args:
        accelerator: accelerator of this process, made with a tracker or without.
        folder: folder of the run's curve. It is replaced, and its name is the name of the run.
    """
    if not accelerator.log_with:
        return
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    # Only the curve: no experiment in git, no dvc.yaml in the repository, no page that loads scripts from the internet.
    dvclive = {"dir": str(folder), "save_dvc_exp": False, "dvcyaml": None, "report": None, "monitor_system": False}
    accelerator.init_trackers(folder.name, init_kwargs={"dvclive": dvclive})
