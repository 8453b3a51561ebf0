"""The tests that claims.yaml can name; each docstring says how the test decides."""

from __future__ import annotations

from collections.abc import Callable

from synthdrive.reporting import claim_tests_method, claim_tests_published, claim_tests_results
from synthdrive.reporting.claim_outcome import Outcome

TESTS: dict[str, Callable[..., Outcome]] = {
    test.__name__: test
    for test in (
        claim_tests_results.lowers,
        claim_tests_results.best,
        claim_tests_results.level,
        claim_tests_results.size,
        claim_tests_results.exceeds_seed_spread,
        claim_tests_published.table_arithmetic,
        claim_tests_published.abstract_matches_table,
        claim_tests_published.headline_row,
        claim_tests_published.same_values,
        claim_tests_published.no_worse_than,
        claim_tests_published.improves_on,
        claim_tests_method.encoder_gradient,
        claim_tests_method.window_count,
        claim_tests_method.speed_range,
        claim_tests_method.share_compared,
        claim_tests_method.lane_distance,
    )
}
