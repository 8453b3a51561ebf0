"""Test of the network that the benchmark of forecasting measures without a checkpoint."""

import runpy
import sys
from pathlib import Path

from synthdrive.config.training import ModelParameters
from synthdrive.config.whole_file import load_profile_section
from synthdrive.core.timing import ARGOVERSE1

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_network_has_the_papers_size(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "benchmarks"), *sys.path])
    benchmark = runpy.run_path(str(REPOSITORY / "benchmarks" / "forecasting.py"))
    profile = REPOSITORY / "profiles" / "paper.yaml"
    paper = load_profile_section(ModelParameters, "model", profile, REPOSITORY / "params.yaml")
    assert benchmark["papers_network"](ARGOVERSE1).model == paper
    assert (paper.hidden_size, paper.sub_graph_layers) == (128, 3)
