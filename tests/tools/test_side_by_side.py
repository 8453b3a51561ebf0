from tools.side_by_side import chains

STAGES = [
    "record_sample", "ingest", "pretrain@map-0", "pretrain@map-1", "finetune@map-0", "finetune@map-1",
    "train_from_scratch@none-0", "train_from_scratch@none-1", "evaluate@map-0", "evaluate@map-1",
    "evaluate_from_scratch@none-0", "evaluate_from_scratch@none-1", "evaluate_baselines", "report",
]  # fmt: skip
MAP = [[f"{stage}@map-{seed}" for stage in ("pretrain", "finetune", "evaluate")] for seed in (0, 1)]
NONE = [[f"{stage}@none-{seed}" for stage in ("train_from_scratch", "evaluate_from_scratch")] for seed in (0, 1)]


def test_every_run_is_made_where_what_all_of_them_read_has_changed() -> None:
    assert chains(STAGES, {"ingest"}) == chains(STAGES, STAGES) == [MAP[0], NONE[0], MAP[1], NONE[1]]


def test_a_change_in_one_run_makes_that_run_alone() -> None:
    assert chains(STAGES, {"finetune@map-1", "report"}) == [MAP[1]]
    assert chains(STAGES, {"train_from_scratch@none-0"}) == [NONE[0]]


def test_what_no_run_reads_makes_none() -> None:
    assert chains(STAGES, {"report", "evaluate_baselines"}) == []
