"""The experiments side by side, within 160 columns: one metric of each variant, and the parameters that differ.

DVC's own table has every metric of every run, and is 400 columns wide. Experiments of the last commits are shown too,
so that a commit does not hide older ones.
"""

from __future__ import annotations

import argparse
import io
import re

import pandas as pd

from synthdrive.core.errors import exit_on_error
from tools.dvc_commands import dvc

METRICS = ("minFDE6", "minADE6", "MR6")
COMMITS = 10
WIDEST_VALUE = 24  # characters of a parameter's value
OF_DVC = ("rev", "typ", "Created", "parent", "State", "Executor", "executor")
# Columns with a path: metrics of single runs, hashes of what stages read. The variants are columns themselves.
LEFT_OUT = re.compile(r".*/|.*\.(yaml|lock|py|json)$|(metrics|forecasts|run_variants|shared_pretraining)$")


def experiment_table(listing: str, metric: str) -> str:
    """The table as text, from what `dvc exp show --csv` prints."""
    found = pd.read_csv(io.StringIO(listing), dtype=str, keep_default_na=False)
    found = found[found["rev"] != "workspace"].reset_index(drop=True)
    is_experiment = ~found["typ"].isin(["baseline"])
    names = [name or rev for name, rev in zip(found["Experiment"], found["rev"], strict=True)]
    labels = [f"  {name}" if inner else name for name, inner in zip(names, is_experiment, strict=True)]
    table = pd.DataFrame({"": pd.Series(labels).str.ljust(max(map(len, labels)))})
    others = {}
    for column in found.columns.difference(["Experiment", *OF_DVC], sort=False):
        name = column.rsplit(":", 1)[-1]
        if name.startswith(f"{metric}."):
            table[name.removeprefix(f"{metric}.")] = [f"{float(text):.4g}" if text else "" for text in found[column]]
        elif found[column].nunique() > 1 and not name.startswith(METRICS) and not LEFT_OUT.match(name):
            others[name] = found[column].str.slice(0, WIDEST_VALUE).to_numpy()
    return f"{metric} of each variant\n{table.assign(**others).to_string(index=False)}"


def main() -> None:
    """Command line: `python -m tools.experiment_table --metric minFDE6`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0])
    arguments = parser.parse_args()
    command = ["exp", "show", "--csv", "--num", str(COMMITS)]
    with exit_on_error():
        print(experiment_table(dvc(*command, captured=True), arguments.metric))


if __name__ == "__main__":
    main()
