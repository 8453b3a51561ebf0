"""Table of the experiments, within 160 columns: one metric of each variant, and the parameters that differ.

DVC's own table has every metric of every run and is 400 columns wide. Experiments of the last commits are included, so
that a commit does not hide older ones; parameters that have been renamed since then are left out.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Sequence

import pandas as pd

from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, read_parameters
from synthdrive.reporting.wording import METRICS as SHOWN
from tools.dvc_commands import dvc

METRICS = ("minFDE6", "minADE6", "MR6")
OTHER_METRICS = ("reconstruction.",)
COMMITS = 10
WIDEST_VALUE = 24  # characters of a parameter's value
DVC_COLUMNS = ("rev", "typ", "Created", "parent", "State", "Executor", "executor")
# Columns with a path (metrics of single runs, hashes of dependencies) and lists of variants, which have columns anyway
LEFT_OUT = re.compile(r".*/|.*\.(yaml|lock|py|json)$|(metrics|forecasts|run_variants|shared_pretraining)$")


def experiment_table(listing: str, metric: str, variants: Sequence[str] = ()) -> str:
    """Format the output of `dvc exp show --csv` as a table, with the columns of `variants` first, in this order."""
    unit, scale = SHOWN[metric].unit, SHOWN[metric].scale
    found = pd.read_csv(io.StringIO(listing), dtype=str, keep_default_na=False)
    found = found[found["rev"] != "workspace"].reset_index(drop=True)
    is_experiment = ~found["typ"].isin(["baseline"])
    # The current commit, and earlier ones that have experiments
    commit = (~is_experiment).cumsum()
    shown = (commit <= 1) | is_experiment.groupby(commit).transform("any")
    found, is_experiment = found[shown].reset_index(drop=True), is_experiment[shown].reset_index(drop=True)
    names = [name or rev for name, rev in zip(found["Experiment"], found["rev"], strict=True)]
    labels = [f"  {name}" if inner else name for name, inner in zip(names, is_experiment, strict=True)]
    table = pd.DataFrame({"": pd.Series(labels).str.ljust(max(map(len, labels)))})
    levels, others = {}, {}
    for column in found.columns.difference(["Experiment", *DVC_COLUMNS], sort=False):
        name = column.rsplit(":", 1)[-1]
        if name.startswith(f"{metric}."):
            levels[name.removeprefix(f"{metric}.")] = [
                f"{float(text) * scale:.4g}" if text else "" for text in found[column]
            ]
        elif name.startswith((*METRICS, *OTHER_METRICS)) or LEFT_OUT.match(name):
            continue
        elif found[column][0] and len({*found[column]} - {""}) > 1:  # parameters that the current commit also has
            others[name] = found[column].str.slice(0, WIDEST_VALUE).to_numpy()
    known = {name: levels[name] for name in variants if name in levels}
    return f"{metric} ({unit}) of each variant\n{table.assign(**(known | levels), **others).to_string(index=False)}"


def main() -> None:
    """Command line: `python -m tools.experiment_table --metric minFDE6`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0])
    arguments = parser.parse_args()
    command = ["exp", "show", "--csv", "--num", str(COMMITS)]
    with exit_on_error():
        variants = list(read_parameters(DEFAULT_PATH)["variants"])
        print(experiment_table(dvc(*command, captured=True), arguments.metric, variants))


if __name__ == "__main__":
    main()
