"""Do two checkouts whose pipelines have run hold the same results? Data by its bytes, metrics within tolerance.

The container's test uses it: the clone that ran inside against the checkout outside.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synthdrive.config.report import VerifyParameters
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.core.parameters import load_section
from tools.metrics_files import recorded_files
from tools.verify import Verdict, compare_metrics, compare_outputs, read_yaml


def same_results(here: Path, there: Path, verdict: Verdict) -> None:
    """Compare what `here` made with what `there` holds; `there` says which stages and metrics there are.

    Raises:
        InputError: `there` has no result to compare with.
    """
    parameters = load_section(VerifyParameters, "verify", there / "params.yaml")
    stages = read_yaml(there / "dvc.lock")["stages"]
    if not any((there / path).is_file() for path in recorded_files(stages)):
        raise InputError(there / "metrics", "no metrics", "the metrics of a pipeline that has run", "Run: make repro")
    recorded = {name.split("@")[0] for name in stages}
    if absent := sorted(set(parameters.spot_stages) - recorded):
        raise InputError(there / "dvc.lock", f"no {', '.join(absent)}", "every data stage", "Run: make repro")
    compare_outputs(here, stages, parameters, verdict)
    compare_metrics(here, there, stages, parameters.tolerances, verdict)


def main() -> None:
    """Command line: `python -m tools.same_results OTHER`; exit status 0 when all agreed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkout to compare the one in the working directory with")
    arguments = parser.parse_args()
    verdict = Verdict()
    with exit_on_error():
        same_results(Path.cwd(), arguments.other, verdict)
    print(f"{verdict.comparisons} comparisons, {verdict.failures} differences")
    raise SystemExit(1 if verdict.failures else 0)


if __name__ == "__main__":
    main()
