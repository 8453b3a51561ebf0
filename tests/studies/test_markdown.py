"""Tests of the numbers of the studies' pages."""

import math

from studies.markdown import rounded


def test_numbers_are_rounded_so_that_machines_agree() -> None:
    noisy = {"rows": [(0.1 + 0.2, float("nan")), 3, None, "text"]}
    (first, missing), *rest = rounded(noisy)["rows"]
    assert first == 0.3
    assert math.isnan(missing)
    assert rest == [3, None, "text"]
