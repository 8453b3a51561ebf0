"""Tests of the report's pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fake_run import town, write_scenes

from given_parameters import paper
from synthdrive.augmentation.transforms import SHAPES
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.charts import Bars, Estimate, bar_chart, interval_chart
from synthdrive.reporting.content import Content
from synthdrive.reporting.drawing import View, map_drawing
from synthdrive.reporting.evidence import encoder_gradient, motion_evidence
from synthdrive.reporting.picture import DARK, LIGHT, Panel, with_variables
from synthdrive.reporting.pictures.maps import city_maps, transform_pictures
from synthdrive.reporting.pictures.reconstructions import lane_errors, shown_epochs
from synthdrive.reporting.pictures.scenes import forecasts, pick_scenes, shown_forecasts
from synthdrive.reporting.report import ReportInputs, miss_threshold, write_forecast_sheet
from synthdrive.reporting.run_results import Artifacts
from synthdrive.scenes.scene_store import SceneStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    folder = tmp_path_factory.mktemp("scenes") / "train"
    write_scenes(folder, town(), 30, 5)
    return SceneStore.load(folder)


def draw(points: np.ndarray) -> str:
    with map_drawing(View.around(points, margin=5.0)) as panel:
        panel.add_line(points, "truth")
        panel.add_many_dots(points, "forecast", size=2.0)
    return panel.svg


def test_themes_have_the_same_roles_and_light_colours_are_distinct() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_equal_drawings_have_equal_bytes_and_no_date() -> None:
    points = np.array([[0.0, 0.0], [10.0, 5.0], [20.0, 30.0]])
    assert draw(points) == draw(points)
    assert not re.search(r"20\d\d-\d\d-\d\d", draw(points))


def test_coordinates_have_two_decimals_and_labels_all_their_digits() -> None:
    drawn = bar_chart([Bars("lanes", (("one", LIGHT["variant1"], 0.629), ("two", LIGHT["ink"], 0.00415)))], "loss")
    assert ">0.629</text>" in drawn
    assert ">0.00415</text>" in drawn
    coordinates = re.findall(r"\d+\.(\d+)", " ".join(re.findall(r"<(?!\?xml)[^>]+>", drawn)))
    assert max(map(len, coordinates)) == 2


def test_inline_drawing_follows_the_theme_of_the_page() -> None:
    drawn = Panel("one", 'a "title" <b>', draw(np.array([[0.0, 0.0], [10.0, 5.0]]))).inline("first")
    assert not re.search(r"(?:fill|stroke): #", drawn)
    assert "stroke: var(--truth)" in drawn
    assert 'aria-label="a &quot;title&quot; &lt;b>"' in drawn
    assert not re.search(r"<svg[^>]* (?:width|height)=", drawn)
    assert with_variables("fill: #123456") == "fill: #123456"


def test_views_have_the_same_scale_on_both_axes() -> None:
    view = View.around(np.array([[0.0, 0.0], [100.0, 10.0]]), margin=10.0, aspect=4 / 3)
    assert view.half_width / view.half_height == pytest.approx(4 / 3)
    assert view.half_width == pytest.approx(60.0)
    with map_drawing(view, width=3.0) as panel:
        pass
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', panel.svg)
    assert size is not None
    assert float(size[1]) / float(size[2]) == pytest.approx(4 / 3, rel=1e-3)


def test_many_dots_are_drawn_as_one_path() -> None:
    points = np.random.default_rng(0).uniform(0, 50, (500, 2))
    drawn = draw(points)
    assert "<use" not in drawn
    assert len(drawn) < 60_000


def test_chosen_scenes_alternate_between_turns_and_depend_only_on_the_seed(store: SceneStore) -> None:
    chosen = pick_scenes(store, 9, 0)
    turns = [store.manifest["turn"][index].as_py() for index in chosen]
    assert turns == ["left", "straight", "right"] * 3
    assert chosen == pick_scenes(store, 9, 0)
    assert chosen != pick_scenes(store, 9, 1)
    assert len(set(pick_scenes(store, 100, 0))) == 30


def test_every_transform_moves_the_map_differently() -> None:
    picture = transform_pictures(town(), SHAPES["released"], 6.0)
    assert [panel.name for panel in picture.panels] == ["smooth", "double", "ripple", "combination"]
    assert len({panel.svg for panel in picture.panels}) == 4


def test_caption_gives_the_distance_of_the_closest_train_and_validation_scenes(
    store: SceneStore, tmp_path: Path
) -> None:
    write_scenes(tmp_path / "val", town(), 9, 6)
    val = SceneStore.load(tmp_path / "val")
    gap = np.linalg.norm(store.origins[:, None] - val.origins[None], axis=-1).min()
    lane_map = town()
    assert f"closest two are {gap:,.0f} m apart" in city_maps({lane_map.city: lane_map}, store, val).caption


def test_motion_of_the_same_scenes_has_distance_zero(store: SceneStore) -> None:
    assert set(motion_evidence(store, store, 1000, 0).distances.values()) == {0.0}
    sampled = motion_evidence(store, store, 12, 0)
    assert sampled.recorded_tracks == 12


def test_speeds_are_computed_from_the_recorded_times(store: SceneStore) -> None:
    """If every second sweep is missing, a step takes 0.2 s, so the same track is half as fast."""
    slow = replace(store, times=2.0 * np.asarray(store.times))
    speeds = motion_evidence(slow, store, 1000, 0)
    assert np.median(speeds.synthetic.speed) == pytest.approx(np.median(speeds.recorded.speed) / 2, rel=0.1)


def test_axis_shows_the_effects_and_clips_wide_intervals() -> None:
    def drawn(low: float, high: float) -> str:
        rows = [Estimate("one", LIGHT["variant1"], -5.0, low, high, (-6.0, -4.0), -3.0)]
        return interval_chart(rows, "change (%)", LIGHT["ink"], zero=LIGHT["muted"])

    assert drawn(-300.0, 250.0) == drawn(-500.0, 900.0), "the ends of an interval far beyond the effects are not shown"
    assert drawn(-7.0, -3.0) != drawn(-8.0, -2.0)


def test_shown_forecasts_are_distinct_and_the_last_one_is_a_miss(run: ReportInputs) -> None:
    val, made = SceneStore.load(run.paths.val), Forecasts.load(run.paths.forecasts / "none-0")
    offset = np.zeros(made.trajectories.shape, np.float32)
    offset[3, :, -1] += 50.0
    missed = replace(made, trajectories=made.trajectories + offset)
    shown = shown_forecasts(val, missed, 4, 0, miss_threshold=20.0)
    truth = np.stack([val[index].agent[-1] for index in range(len(val))])
    errors = np.linalg.norm(missed.trajectories[:, :, -1] - truth[:, None], axis=-1).min(axis=1)
    assert shown[-1] == 3
    assert len(set(shown)) == 4
    assert (errors[shown[:-1]] <= 20.0).all()
    none_missed = shown_forecasts(val, missed, len(val), 0, miss_threshold=100.0)
    assert none_missed[-1] != 3


def test_misses_are_marked_only_if_the_threshold_of_the_evaluation_is_known(run: ReportInputs) -> None:
    val, made = SceneStore.load(run.paths.val), Forecasts.load(run.paths.forecasts / "none-0")
    judged = forecasts(None, "one", val, made, 4, 0, miss_threshold=0.01)
    assert all(": missed, minFDE" in panel.title for panel in judged.panels)
    assert "100% of" in judged.caption
    assert "within 0.01 m" in judged.caption
    unjudged = forecasts(None, "one", val, made, 4, 0, miss_threshold=None)
    assert [panel.svg for panel in unjudged.panels]
    assert not re.search(r"\b(hit|missed)\b", " ".join([unjudged.caption, *(panel.title for panel in unjudged.panels)]))


def test_the_miss_threshold_is_that_of_the_evaluation(run: ReportInputs) -> None:
    artifacts = Artifacts.load(run.paths, run.runs)
    assert miss_threshold(artifacts) is None, "these metadata contain no parameters"
    first = next(iter(artifacts.metadata))
    evaluated = {"parameters": {"evaluate": {"miss_threshold": 1.5}}}
    assert miss_threshold(replace(artifacts, metadata={first: {"evaluate": evaluated}})) == 1.5


def test_each_hidden_lane_is_compared_with_its_own_truth(run: ReportInputs) -> None:
    kept = Reconstructions.load(run.paths.pretrained / "combined-0" / "reconstructions.safetensors")
    sample = int(np.flatnonzero(kept.is_map)[-1])
    exact = kept.lane_predicted.copy()
    exact[-1] = kept.lane_points[kept.lane_hidden]
    assert lane_errors(replace(kept, lane_predicted=exact), sample) == pytest.approx(0.0)
    rows = np.flatnonzero(kept.lane_scene[kept.lane_hidden] == sample)
    exact[-1, rows[0]] += 3.0
    found = lane_errors(replace(kept, lane_predicted=exact), sample)
    assert found[0] == pytest.approx(3.0 * np.sqrt(2), rel=1e-4)
    assert found[1:] == pytest.approx(0.0)


def test_forecast_sheet_is_one_picture(run: ReportInputs, tmp_path: Path) -> None:
    write_forecast_sheet(run, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_released_mask_keeps_the_gradient_from_the_encoder(store: SceneStore) -> None:
    checks = encoder_gradient(store, paper(ModelParameters, hidden_size=32), paper(ObjectiveParameters))
    assert checks[False].reached == 0
    assert checks[True].reached == checks[True].tensors > 20


def test_the_report_has_all_kinds_of_pictures(report: tuple[Path, Content]) -> None:
    names = {picture.name for picture in report[1].pictures.all()}
    assert names == {
        "differences", "levels", "city-maps", "recorded-scenes", "map-transforms", "augmented-corridors",
        "synthetic-drives", "synthetic-windows", "motion", "curves-pretrain", "curves-finetune",
        "reconstruction-lanes-combined", "reconstruction-trajectory-combined", "reconstruction-floors", "forecasts",
    }  # fmt: skip
    training = {picture.name: picture for picture in report[1].pictures.training}
    drives, lanes = training["reconstruction-trajectory-combined"], training["reconstruction-lanes-combined"]
    stages = ["input", "epoch-0", "epoch-2", "epoch-3", "epoch-5", "truth"]
    assert [panel.name for panel in drives.panels] == [f"trajectory-1-{stage}" for stage in stages]
    assert [panel.name for panel in lanes.panels][:3] == ["lanes-1-input", "lanes-1-all", "lanes-1-lane-1"]
    for picture in (drives, lanes):
        assert len({panel.svg for panel in picture.panels}) == len(picture.panels)
        assert len(picture.panels) % picture.columns == 0


def test_four_evenly_spaced_epochs_are_shown_or_all_if_there_are_fewer() -> None:
    assert [shown_epochs(last) for last in (0, 1, 3, 4, 20)] == [
        [0], [0, 1], [0, 1, 2, 3], [0, 1, 3, 4], [0, 7, 13, 20],
    ]  # fmt: skip


def test_page_and_files_show_the_same_pictures(report: tuple[Path, Content]) -> None:
    files = {path.relative_to(report[0] / "pictures").as_posix() for path in (report[0] / "pictures").rglob("*.svg")}
    shown = {f"{picture.name}/{panel.name}.svg" for picture in report[1].pictures.all() for panel in picture.panels}
    assert files == shown


def test_matplotlib_settings_of_the_user_change_no_picture() -> None:
    rows = [Estimate("one", LIGHT["variant1"], -5.0, -7.0, -3.0, (-6.0, -4.0), -3.0)]
    drawn = interval_chart(rows, "change (%)", LIGHT["ink"])
    with matplotlib.rc_context({"axes.labelpad": 30.0, "lines.linewidth": 9.0, "figure.dpi": 300.0, "axes.grid": True}):
        assert interval_chart(rows, "change (%)", LIGHT["ink"]) == drawn
