from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_run import REPOSITORY, town, write_scenes

from given_parameters import paper
from synthdrive.augmentation.transforms import SHAPES
from synthdrive.config.synthesize import SynthesizeParameters
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.parameters import load_section
from synthdrive.reporting.content import Content
from synthdrive.reporting.encoder_gradient import encoder_gradient
from synthdrive.reporting.map_drawing import View, map_drawing
from synthdrive.reporting.motion_evidence import motion_evidence, released_motion
from synthdrive.reporting.palette import DARK, LIGHT, with_variables
from synthdrive.reporting.picture import Panel
from synthdrive.reporting.pictures.city_maps import city_maps
from synthdrive.reporting.pictures.motion import motion_beside_released
from synthdrive.reporting.pictures.reconstructions import shown_epochs
from synthdrive.reporting.pictures.released_drives import released_drives, released_errors
from synthdrive.reporting.pictures.scene_layers import pick_scenes
from synthdrive.reporting.pictures.transforms import transform_pictures
from synthdrive.reporting.report import ReportInputs, write_report
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.released import DrivenAgain, ReleasedDrive, read_released, round_as_released
from synthdrive.synthesis.windows import agent_tracks


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


def test_themes_name_the_same_roles_and_every_light_shade_once() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_same_drawing_same_bytes_and_no_date() -> None:
    points = np.array([[0.0, 0.0], [10.0, 5.0], [20.0, 30.0]])
    assert draw(points) == draw(points)
    assert not re.search(r"20\d\d-\d\d-\d\d", draw(points))


def test_inline_drawing_follows_the_theme_of_the_page() -> None:
    drawn = Panel("one", 'a "title" <b>', draw(np.array([[0.0, 0.0], [10.0, 5.0]]))).inline("first")
    assert not re.search(r"(?:fill|stroke): #", drawn)
    assert "stroke: var(--truth)" in drawn
    assert 'aria-label="a &quot;title&quot; &lt;b>"' in drawn
    assert not re.search(r"<svg[^>]* (?:width|height)=", drawn)
    assert with_variables("fill: #123456") == "fill: #123456"


def test_views_have_one_scale_on_both_axes() -> None:
    view = View.around(np.array([[0.0, 0.0], [100.0, 10.0]]), margin=10.0, aspect=4 / 3)
    assert view.half_width / view.half_height == pytest.approx(4 / 3)
    assert view.half_width == pytest.approx(60.0)
    with map_drawing(view, width=3.0) as panel:
        pass
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', panel.svg)
    assert size is not None
    assert float(size[1]) / float(size[2]) == pytest.approx(4 / 3, rel=1e-3)


def test_many_dots_are_one_path() -> None:
    points = np.random.default_rng(0).uniform(0, 50, (500, 2))
    drawn = draw(points)
    assert "<use" not in drawn
    assert len(drawn) < 60_000


def test_chosen_scenes_take_turns_and_depend_on_the_seed_alone(store: SceneStore) -> None:
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


def test_closest_train_and_validation_scenes_are_measured(store: SceneStore, tmp_path: Path) -> None:
    write_scenes(tmp_path / "val", town(), 9, 6)
    val = SceneStore.load(tmp_path / "val")
    gap = np.linalg.norm(store.origins[:, None] - val.origins[None], axis=-1).min()
    lane_map = town()
    assert f"closest two are {gap:,.0f} m apart" in city_maps({lane_map.city: lane_map}, store, val).caption


def test_released_windows_stand_beside_ours() -> None:
    lane_map = town()
    xy = np.stack([np.linspace(20.0, 60.0, 50), np.full(50, 70.0)], axis=1)
    again = []
    for error in (0.5, 0.1):
        released = ReleasedDrive("dv10TOWN_0_id_1", lane_map.city, 10.0, xy, None)
        speed = released.speed + error
        again.append(DrivenAgain(released, xy, speed, xy, np.full(50, 0.2), np.full(50, 0.1), error))
    assert released_errors([]) is None
    assert released_errors(again) == pytest.approx(
        {
            "windows": 2,
            "speed_error_median": 0.3,
            "speed_error_mean": 0.3,
            "lateral_error_mean": 0.1,
            "lane_distance_median": 0.2,
        }
    )
    picture = released_drives(again, {lane_map.city: lane_map}, 5)
    assert picture is not None
    assert [panel.name for panel in picture.panels] == ["path-1", "speed-1", "path-2", "speed-2", "errors"]
    assert "speed error 0.10" in picture.panels[1].title
    assert "0.30 m/s median" in picture.caption
    assert released_drives([], {}, 5) is None


def test_motion_of_the_same_scenes_has_no_distance(store: SceneStore) -> None:
    assert set(motion_evidence(store, store, 1000, 0).distances.values()) == {0.0}
    sampled = motion_evidence(store, store, 12, 0)
    assert sampled.recorded_tracks == 12


def as_released(store: SceneStore, faster: float = 1.0) -> list[ReleasedDrive]:
    tracks = faster * agent_tracks(store) + store.origins[:, None]
    return [ReleasedDrive("dv10TOWN_0_id_1", "TOWN", 10.0, round_as_released(xy), None) for xy in tracks]


def test_windows_rounded_as_the_released_ones_have_no_distance(store: SceneStore) -> None:
    evidence = released_motion(as_released(store), store, store, 1000, 0)
    assert evidence is not None
    assert set(evidence.tracks.values()) == {len(store)}
    assert {value for distances in evidence.distances.values() for value in distances.values()} == {0.0}
    assert released_motion([], store, store, 1000, 0) is None


def test_every_pair_has_its_distance_to_the_released_motion(store: SceneStore) -> None:
    picture = motion_beside_released(released_motion(as_released(store, 2.0), store, store, 1000, 0), "scenes")
    assert picture is not None
    assert [panel.name for panel in picture.panels] == ["speed", "acceleration", "curvature", "heading-change"]
    mean = (np.linalg.norm(np.diff(agent_tracks(store), axis=1), axis=-1) / 0.1).mean()
    apart = re.fullmatch(
        r"Speed \(m/s\): recorded.released ([\d.]+), recorded.synthetic 0, released.synthetic ([\d.]+)",
        picture.panels[0].title,
    )
    assert apart is not None
    assert apart[1] == apart[2]
    assert float(apart[1]) == pytest.approx(mean, rel=0.1)
    assert f"{len(store)} windows of the authors' release" in picture.caption
    assert "6 significant digits" in picture.caption
    assert all(LIGHT[role] in picture.panels[0].svg for role in ("truth", "synthetic", "recorded"))
    assert motion_beside_released(None, "scenes") is None


def test_report_with_released_windows_has_both_of_their_pictures(run: ReportInputs, tmp_path: Path) -> None:
    folder = tmp_path / "released"
    folder.mkdir()
    rows = "".join(f"{step / 10},{20 + 0.8 * step:.6g},70,TOWN\n" for step in range(50))
    (folder / "dv8TOWN_0_id_1.csv").write_text(f"TIMESTAMP,X,Y,CITY_NAME\n{rows}")
    driver = load_section(SynthesizeParameters, "synthesize", REPOSITORY / "params.yaml").driver
    write_report(replace(run, released=folder, driver=driver), tmp_path / "reports")
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "Our driver beside the released drives" in page
    assert "Motion beside the released windows" in page
    figures = json.loads((tmp_path / "reports" / "results.json").read_text())["released"]
    assert figures["tracks"]["released"] == figures["driven_again"]["windows"] == 1
    assert f"{figures['driven_again']['speed_error_median']:.2f} m/s median" in page
    assert f"{figures['motion_distances']['recorded-released']['speed']:.2g}" in page


@pytest.mark.reference
def test_released_files_keep_their_own_motion(reference: Path, store: SceneStore) -> None:
    drives = [read_released(path) for path in sorted((reference / "released_samples").glob("*.csv"))]
    if not drives:
        pytest.skip(f"no released samples in {reference}")
    evidence = released_motion(drives, store, store, 1000, 0)
    assert evidence is not None
    assert evidence.tracks["released"] == len(drives)
    speed = np.concatenate([drive.speed for drive in drives])
    assert evidence.sets["released"].speed.mean() == pytest.approx(speed.mean(), abs=0.1)
    assert np.isfinite(list(evidence.distances["released", "synthetic"].values())).all()


def test_released_mask_keeps_the_gradient_from_the_encoder(store: SceneStore) -> None:
    checks = encoder_gradient(store, paper(ModelParameters, hidden_size=32), paper(ObjectiveParameters))
    assert checks[False].reached == 0
    assert checks[True].reached == checks[True].tensors > 20


def test_all_kinds_of_picture_are_there(report: tuple[Path, Content]) -> None:
    names = {picture.name for picture in report[1].pictures.all()}
    assert names == {
        "differences", "levels", "city-maps", "recorded-scenes", "map-transforms", "augmented-corridors",
        "synthetic-drives", "synthetic-windows", "motion", "curves-pretrain", "curves-finetune",
        "reconstruction-combined", "forecasts",
    }  # fmt: skip
    (masked,) = [picture for picture in report[1].pictures.training if "reconstruction" in picture.name]
    stages = ["input", "epoch-0", "epoch-2", "epoch-3", "epoch-5", "truth"]
    assert [panel.name for panel in masked.panels] == [
        f"{kind}-1-{stage}" for kind in ("map", "trajectory") for stage in stages
    ]
    assert len({panel.svg for panel in masked.panels}) == len(masked.panels)


def test_few_epochs_are_all_shown() -> None:
    assert [shown_epochs(last) for last in (0, 1, 3, 4, 20)] == [
        [0], [0, 1], [0, 1, 2, 3], [0, 1, 3, 4], [0, 7, 13, 20],
    ]  # fmt: skip


def test_page_and_files_show_the_same_pictures(report: tuple[Path, Content]) -> None:
    files = {path.relative_to(report[0] / "pictures").as_posix() for path in (report[0] / "pictures").rglob("*.svg")}
    shown = {f"{picture.name}/{panel.name}.svg" for picture in report[1].pictures.all() for panel in picture.panels}
    assert files == shown
