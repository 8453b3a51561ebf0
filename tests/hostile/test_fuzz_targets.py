"""The list of fuzz targets, which cannot import them before they are instrumented, is complete."""

from fuzz import NAMES


def test_every_target_can_be_chosen():
    from fuzz_targets import TARGETS

    assert list(NAMES) == list(TARGETS)
