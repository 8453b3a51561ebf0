"""Compare the results of two checkouts whose pipelines have run: data byte for byte, metrics within tolerance.

Their dvc.lock files may differ only in trained models and what is made from them, because processors that sum in
another order explain no other difference. CI runs this for a fresh clone, the container's test for the clone inside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from synthdrive.config.report import VerifyParameters
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.core.parameters import load_section
from tools.dvc_commands import Stages, locked_stages
from tools.metrics_files import recorded_files
from tools.verify import Verdict, compare_metrics, compare_outputs


def same_results(here: Path, there: Path, verdict: Verdict) -> None:
    """Compare the results in `here` with those in `there`, for the stages and metrics files that `there` has.

    Raises:
        InputError: `there` has no results.
    """
    parameters = load_section(VerifyParameters, "verify", there / "params.yaml")
    stages = locked_stages(there)
    if not any((there / path).is_file() for path in recorded_files(stages)):
        raise InputError(there / "metrics", "no metrics", "the metrics of a pipeline that has run", "Run: make repro")
    recorded = {name.split("@")[0] for name in stages}
    if absent := sorted(set(parameters.spot_stages) - recorded):
        raise InputError(there / "dvc.lock", f"no {', '.join(absent)}", "every data stage", "Run: make repro")
    compare_outputs(here, stages, parameters, verdict)
    compare_metrics(here, there, stages, parameters.tolerances, verdict)
    compare_locks(locked_stages(here), stages, parameters.spot_stages, verdict)


def compare_locks(made: Stages, recorded: Stages, data_stages: Collection[str], verdict: Verdict) -> None:
    """Compare two dvc.lock files, which may differ only in the hashes of trained models and of what is made from them.

    Args:
        made, recorded: stages of the two dvc.lock files.
        data_stages: names of the stages whose outputs are the same on every processor.
    """
    outputs = [
        Path(out["path"])
        for name, stage in recorded.items()
        if name.split("@")[0] not in data_stages
        for out in stage.get("outs", [])
    ]
    problems, explained = [], 0
    for name in sorted({*made, *recorded}):
        old, new = _entries(recorded.get(name, {})), _entries(made.get(name, {}))
        for what in sorted({*old, *new}):
            if old.get(what) != new.get(what):
                place = Path(what)
                trained = (
                    what in old
                    and what in new
                    and any(place == out or place in out.parents or out in place.parents for out in outputs)
                )
                explained += trained
                problems += [] if trained else [f"{name}: {what}: recorded {old.get(what)}, made {new.get(what)}"]
    verdict.compare(f"dvc.lock: {explained} hashes differ, all of trained models or results made from them", problems)


def _entries(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a stage in dvc.lock: hashes by path, the command and the parameters."""
    entries = [*stage.get("deps", []), *stage.get("outs", [])]
    return {entry["path"]: entry.get("md5") for entry in entries} | {
        key: value for key, value in stage.items() if key not in ("deps", "outs")
    }


def main() -> None:
    """Command line: `python -m tools.same_results OTHER`; exit status 0 if all comparisons agree, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkout to compare the working directory with")
    arguments = parser.parse_args()
    verdict = Verdict()
    with exit_on_error():
        same_results(Path.cwd(), arguments.other, verdict)
    print(f"{verdict.comparisons} comparisons, {verdict.failures} differences")
    raise SystemExit(1 if verdict.failures else 0)


if __name__ == "__main__":
    main()
