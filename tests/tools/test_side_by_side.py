from tools.side_by_side import runs_to_make

STAGES = [
    "record_sample", "ingest", "pretrain@map-0", "pretrain@map-1", "finetune@map-0", "finetune@map-1",
    "train_from_scratch@none-0", "train_from_scratch@none-1", "evaluate@map-0", "evaluate@map-1",
    "evaluate_from_scratch@none-0", "evaluate_from_scratch@none-1", "evaluate_baselines", "report",
]  # fmt: skip
ALL = ["evaluate@map-0", "evaluate_from_scratch@none-0", "evaluate@map-1", "evaluate_from_scratch@none-1"]


def test_every_run_is_made_where_what_all_of_them_read_has_changed() -> None:
    assert runs_to_make(STAGES, {"ingest"}) == ALL
    assert runs_to_make(STAGES, STAGES) == ALL


def test_a_change_in_one_run_makes_that_run_alone() -> None:
    assert runs_to_make(STAGES, {"finetune@map-1", "report"}) == ["evaluate@map-1"]
    assert runs_to_make(STAGES, {"train_from_scratch@none-0"}) == ["evaluate_from_scratch@none-0"]


def test_what_no_run_reads_makes_none() -> None:
    assert runs_to_make(STAGES, {"report", "evaluate_baselines"}) == []
