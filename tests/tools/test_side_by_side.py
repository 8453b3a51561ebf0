"""Tests of which runs are executed side by side after a change."""

from tools.side_by_side import SHARED, chains

STAGES = [
    "record_sample", "ingest", "pretrain@map-0", "pretrain@map-1", "finetune@map-0", "finetune@map-1",
    "train_from_scratch@none-0", "train_from_scratch@none-1", "evaluate@map-0", "evaluate@map-1",
    "evaluate_from_scratch@none-0", "evaluate_from_scratch@none-1", "evaluate_baselines", "report",
    "finetune_shared@run0-0", "evaluate_shared@run0-0", "finetune_shared@run1-0", "evaluate_shared@run1-0",
]  # fmt: skip
MAP = [[f"{stage}@map-{seed}" for stage in ("pretrain", "finetune", "evaluate")] for seed in (0, 1)]
NONE = [[f"{stage}@none-{seed}" for stage in ("train_from_scratch", "evaluate_from_scratch")] for seed in (0, 1)]


def test_a_change_in_shared_inputs_affects_every_run() -> None:
    assert chains(STAGES, {"ingest"}) == chains(STAGES, STAGES) == [MAP[0], NONE[0], MAP[1], NONE[1]]


def test_a_change_in_one_run_affects_only_that_run() -> None:
    assert chains(STAGES, {"finetune@map-1", "report"}) == [MAP[1]]
    assert chains(STAGES, {"train_from_scratch@none-0"}) == [NONE[0]]


def test_a_change_that_no_run_reads_affects_no_run() -> None:
    assert chains(STAGES, {"report", "evaluate_baselines"}) == []


def test_runs_that_share_pre_training_are_separate_from_it() -> None:
    runs = [[f"{stage}@run{place}-0" for stage in SHARED] for place in (0, 1)]
    assert chains(STAGES, {"ingest"}, SHARED) == chains(STAGES, {"pretrain@map-0"}, SHARED) == runs
    assert chains(STAGES, {"evaluate_shared@run1-0"}, SHARED) == runs[1:]
    assert chains(STAGES, {"finetune@map-0"}, SHARED) == []
