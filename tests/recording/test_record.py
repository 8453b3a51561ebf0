"""Tests of a small recording: official layout, plausible driving, and the same bytes for any number of workers."""

import csv
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from repository import PARAMS
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parameters import load_section, read_parameters
from synthdrive.core.schema import from_values
from synthdrive.recording.record import record

TRAIN, VAL = 9, 3


def small(**scenes):
    full = load_section(RecordSampleParameters, "record_sample", PARAMS)
    city = replace(next(city for city in full.cities if city.code == "BRU"), runs=2)
    traffic = replace(full.traffic, warm_up=10.0, seconds=30.0)
    kept = replace(full.scenes, train=TRAIN, val=VAL, **scenes)
    return replace(full, cities=[city], traffic=traffic, scenes=kept)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    record(folder / "one", small(), workers=1)
    record(folder / "two", small(), workers=2)
    return folder


def scenes_of(path):
    with tarfile.open(path) as archive:
        for member in archive:
            rows = list(csv.DictReader(io.StringIO(archive.extractfile(member).read().decode())))
            yield member.name, rows


def test_bytes_do_not_depend_on_workers_or_folder(recorded):
    assert file_hash(recorded / "one") == file_hash(recorded / "two")


def test_recording_has_the_official_layout(recorded):
    names = sorted(file.name for file in (recorded / "one").iterdir())
    assert names == ["README.md", "forecasting_train_v1.1.tar.gz", "forecasting_val_v1.1.tar.gz", "hd_maps.tar.gz"]
    train = [name for name, _ in scenes_of(recorded / "one" / names[1])]
    val = [name for name, _ in scenes_of(recorded / "one" / names[2])]
    assert train == [f"train/data/{number}.csv" for number in range(1, TRAIN + 1)]
    assert val == [f"val/data/{number}.csv" for number in range(TRAIN + 1, TRAIN + VAL + 1)]
    assert "OpenStreetMap contributors" in (recorded / "one" / "README.md").read_text()


@pytest.mark.parametrize("split", ["train", "val"])
def test_scenes_are_complete_and_steps_are_plausible(recorded, split):
    for _, rows in scenes_of(recorded / "one" / f"forecasting_{split}_v1.1.tar.gz"):
        tracks = {}
        for row in rows:
            key = (row["OBJECT_TYPE"], row["TRACK_ID"])
            tracks.setdefault(key, []).append((float(row["TIMESTAMP"]), float(row["X"]), float(row["Y"])))
        kinds = [kind for kind, _ in tracks]
        assert (kinds.count("AGENT"), kinds.count("AV")) == (1, 1)
        for (kind, _), track in tracks.items():
            values = np.array(track)
            assert kind == "OTHERS" or len(values) == 50
            steps = np.hypot(*np.diff(values[:, 1:], axis=0).T) / np.rint(np.diff(values[:, 0]) * 10)
            assert (steps < 3.0).all()


def test_train_and_val_scenes_are_separated_in_space(recorded):
    places = {
        split: np.array([
            (float(row["X"]), float(row["Y"]))
            for _, rows in scenes_of(recorded / "one" / f"forecasting_{split}_v1.1.tar.gz")
            for row in rows
            if row["OBJECT_TYPE"] == "AGENT"
        ])
        for split in ("train", "val")
    }  # fmt: skip
    assert places["val"][:, 1].min() - places["train"][:, 1].max() > 119.0  # BRU: val is the north


def test_too_few_scenes_are_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="scenes worth keeping"):
        strict = small(max_lateral_acceleration=0.0, max_acceleration=0.0)
        record(tmp_path / "out", replace(strict, traffic=replace(strict.traffic, seconds=5.0)), workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("scenes", "max_standing_fraction", 1.5),
        ("scenes", "train", 0),
        ("scenes", "tracking_noise", -0.1),
        ("scenes", "min_av_distance", 100.0),
        ("map", "max_length", 0.0),
        ("traffic", "vehicles", []),
        ("streets", "unknown", 1),
    ],
)
def test_invalid_parameters_are_refused_by_name(section, key, value):
    values = read_parameters(PARAMS)["record_sample"]
    values[section][key] = value
    with pytest.raises(ParameterError, match=rf"record_sample\.{section}.*{key}"):
        from_values(RecordSampleParameters, values, "record_sample")


@pytest.mark.parametrize(
    ("vehicles", "drivers"), [(["car", "car"], ["calm"]), (["a", "a_b"], ["b_c", "c"]), (["car"], ["calm", "calm"])]
)
def test_kinds_of_traffic_need_different_names(vehicles, drivers):
    values = read_parameters(PARAMS)["record_sample"]
    for key, names in (("vehicles", vehicles), ("drivers", drivers)):
        values["traffic"][key] = [{**values["traffic"][key][0], "name": name} for name in names]
    with pytest.raises(ParameterError, match=r"record_sample\.traffic\.vehicles and .*twice"):
        from_values(RecordSampleParameters, values, "record_sample")


def test_unknown_val_side_is_refused():
    values = read_parameters(PARAMS)["record_sample"]
    values["cities"][0]["val_side"] = "up"
    with pytest.raises(ParameterError, match="north, east, south, west"):
        from_values(RecordSampleParameters, values, "record_sample")
