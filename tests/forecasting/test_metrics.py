"""Errors equal those of the Argoverse 1 evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthdrive.core.errors import InputError
from synthdrive.forecasting.metrics import displacement_errors


@pytest.mark.reference
def test_every_metric_equals_the_references(reference):
    arrays = np.load(reference / "golden" / "metrics.npz")
    expected = json.loads((reference / "golden" / "metrics.json").read_text())
    compared = 0
    for case, metrics in expected.items():
        guesses, horizon, weighted = case.split("_")
        errors = displacement_errors(
            arrays["forecasts"],
            arrays["gt"],
            int(guesses.removeprefix("K")),
            arrays["probabilities"] if weighted == "prob" else None,
            arrays["n_forecasts"],
            int(horizon.removeprefix("H")),
        )
        assert set(errors) == set(metrics)
        for name, value in metrics.items():
            assert errors[name].mean() == pytest.approx(value, abs=1e-9)
            compared += 1
    assert compared


@pytest.mark.reference
def test_every_scene_equals_the_references(reference):
    arrays = np.load(reference / "golden" / "metrics.npz")
    errors = displacement_errors(
        arrays["forecasts"], arrays["gt"], 6, arrays["probabilities"], arrays["n_forecasts"], 30
    )
    for name, column in zip(arrays["per_scene_columns"], arrays["per_scene_K6_H30_prob"].T, strict=True):
        np.testing.assert_allclose(errors[str(name)], column, atol=1e-9, rtol=0)


def straight_forecasts(*endpoints, steps=30):
    """(1, M, T, 2) straight trajectories from the origin to these points."""
    fraction = np.arange(1, steps + 1)[:, None] / steps
    return np.stack([fraction * np.array(end, dtype=float) for end in endpoints])[None]


def test_ade_is_that_of_the_trajectory_with_the_smallest_endpoint_error():
    truth = straight_forecasts((30.0, 0.0))[0]
    forecasts = straight_forecasts((29.0, 0.0), (30.0, 0.0))
    forecasts[0, 1, :-1] += (0.0, 5.0)  # far away until it arrives exactly
    errors = displacement_errors(forecasts, truth, 6)
    assert errors["minFDE"][0] == 0
    assert errors["minADE"][0] == pytest.approx(5.0 * 29 / 30)


def test_likeliest_guesses_count_and_are_renormalised():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((10.0, 0.0), (14.0, 0.0), (11.0, 0.0))
    probabilities = np.array([[0.2, 0.5, 0.3]])
    assert displacement_errors(forecasts, truth, 1, probabilities)["minFDE"][0] == pytest.approx(4.0)
    two = displacement_errors(forecasts, truth, 2, probabilities)
    assert two["minFDE"][0] == pytest.approx(1.0)
    assert two["brier-minFDE"][0] == pytest.approx(1.0 + (1 - 0.3 / 0.8) ** 2)
    assert two["p-minFDE"][0] == pytest.approx(1.0 - np.log(0.3 / 0.8))
    assert two["p-MR"][0] == pytest.approx(1 - 0.3 / 0.8)
    assert displacement_errors(forecasts, truth, 1)["minFDE"][0] == 0  # without probabilities the first one counts


def test_a_scene_is_missed_beyond_the_threshold_only():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((12.0, 0.0))
    assert displacement_errors(forecasts, truth, 6)["MR"][0] == 0
    assert displacement_errors(forecasts, truth, 6, miss_threshold=1.99)["MR"][0] == 1


def test_improbable_best_trajectory_costs_no_more_than_that_of_one_in_twenty():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((20.0, 0.0), (10.0, 0.0))
    errors = displacement_errors(forecasts, truth, 6, np.array([[1.0, 0.0]]))
    assert errors["p-minFDE"][0] == pytest.approx(-np.log(0.05))


@pytest.mark.parametrize(
    ("forecasts", "truth", "guesses"),
    [
        ((2, 6, 30, 3), (2, 30, 2), 6),
        ((2, 6, 30, 2), (3, 30, 2), 6),
        ((2, 6, 20, 2), (2, 30, 2), 6),
        ((2, 6, 30, 2), (2, 30, 2), 0),
    ],
)
def test_shapes_that_do_not_fit_are_refused(forecasts, truth, guesses):
    with pytest.raises(InputError):
        displacement_errors(np.zeros(forecasts), np.zeros(truth), guesses)
