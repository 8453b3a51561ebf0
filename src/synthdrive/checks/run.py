"""Data validation: check maps, scenes and windows against suites of expectations."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # before the import, so that no usage data is sent

from synthdrive.core.errors import from_extra

with from_extra("pipeline"):
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.expectations.expectation import Expectation

from synthdrive.checks import suites
from synthdrive.checks.outcome import EXAMPLES, Outcome, Outlier, describe_failure, find_outliers
from synthdrive.checks.tables import lane_table, moment, require, scene_table
from synthdrive.config.data import CheckRawParameters, CheckSyntheticParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.scenes.scene_store import CITY_MAPS, SceneStore

STEP_ROUNDING = 0.004  # metres; positions are rounded to 1 mm, in x and y, at both ends of a step

# Data Docs contain times and random element names, which must not vary between runs. All runs get RUN_TIME, but pages
# show it in the machine's time zone; that and all other times and names are normalised in the pages.
RUN_TIME = datetime(2000, 1, 1, tzinfo=UTC)
TIME_STAMP = re.compile(r"\b(?!20000101T)20[0-9]{6}T[0-9]{6}\.[0-9]{6}Z\b")
LOCAL_TIME = re.compile(r"\b(?:1999-12-31|2000-01-0[12])([T ])[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z| [A-Z0-9+-]+)")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class _Check:
    """A table, the columns that identify its rows, and the expectations of it."""

    name: str
    table: pd.DataFrame
    keys: Sequence[str]
    expectations: Sequence[Expectation]


def check_raw(
    maps: Path, train: Path, val: Path, parameters: CheckRawParameters, out: Path, docs: Path | None
) -> Outcome:
    """Check lane maps and the recorded scenes of both splits.

    Args:
        maps: folder of the lane maps and their manifest.
        train, val: scene stores.
        parameters: limits.
        out: JSON file for the result, which lists every outlier; equal tables and expectations give equal bytes.
        docs: folder for the Data Docs (HTML, also reproducible); None to write none.

    Raises:
        InputError: a table is missing or damaged.
    """
    lanes = lane_table(maps / "manifest.parquet")
    cities = sorted(lanes["city"].unique())
    checks = [_Check("maps", lanes, suites.LANE_KEYS, suites.map_expectations(lanes, parameters.maps))]
    known = pd.Series(dtype=object)
    for split, path in (("train", train), ("val", val)):
        scenes = scene_table(path)
        moments = moment(scenes)
        scenes = scenes.assign(stands_once=~moments.duplicated(), not_in_train=~moments.isin(known))
        store = SceneStore.load(path, check=False)
        with_map = cities if store.maps == CITY_MAPS else None
        expectations = suites.scene_expectations(
            scenes, parameters.scenes, store.timing.steps, with_map, held_out=split == "val"
        )
        checks.append(_Check(f"{split} scenes", scenes, suites.SCENE_KEYS, expectations))
        known = moments
    return _run("raw", checks, out, docs)


def check_synthetic(synthetic: Path, parameters: CheckSyntheticParameters, out: Path, docs: Path | None) -> Outcome:
    """Check all synthetic windows.

    Args:
        synthetic: scene store of the windows.
        parameters: limits.
        out, docs: see `check_raw`.

    Raises:
        InputError: a table is missing or damaged.
    """
    windows = scene_table(synthetic)
    require(windows, ["max_step"], synthetic / "manifest.parquet")
    tolerance = STEP_ROUNDING + parameters.step_noise
    windows["step_as_stated"] = np.abs(windows["max_step"] - windows["track_max_step"]) <= tolerance
    steps = SceneStore.load(synthetic, check=False).timing.steps
    expectations = suites.synthetic_expectations(windows, parameters, steps)
    return _run("synthetic", [_Check("synthetic", windows, suites.SCENE_KEYS, expectations)], out, docs)


def _run(name: str, checks: Sequence[_Check], out: Path, docs: Path | None) -> Outcome:
    """Check the tables, then write the result and the Data Docs; see `check_raw`."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # such sites would leave folders in /tmp
    context = gx.get_context(mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=stores))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas(name)
    validations: list[dict[str, Any]] = []
    failures: list[str] = []
    outliers: list[Outlier] = []
    for check in checks:
        result = _run_check(context, source, check)
        validations.append(_describe(check, result))
        (found,) = result.run_results.values()
        for expectation in found.results:
            outliers += find_outliers(check.name, check.keys, expectation)
            if not expectation.success:
                failures.append(describe_failure(check.name, check.keys, expectation))
    if docs is not None:
        _write_docs(context, name, docs)
    write_json(out, _join(validations) | {"outliers": [asdict(outlier) for outlier in outliers]})
    return Outcome(not failures, sum(len(check.expectations) for check in checks), failures, outliers)


def _run_check(context: Any, source: Any, check: _Check) -> Any:
    suite = context.suites.add(gx.ExpectationSuite(name=check.name, expectations=list(check.expectations)))
    batch = source.add_dataframe_asset(check.name).add_batch_definition_whole_dataframe("all rows")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=check.name, data=batch, suite=suite))
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(check.keys),
        "partial_unexpected_count": max(EXAMPLES, *(_most_outliers(check, each) for each in check.expectations)),
    }
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=check.name, validation_definitions=[definition], result_format=result_format)
    )
    run = RunIdentifier(run_name=check.name, run_time=RUN_TIME)
    return checkpoint.run(batch_parameters={"dataframe": check.table}, run_id=run)


def _most_outliers(check: _Check, expectation: Any) -> int:
    """Return how many rows may miss an expectation, rounded up."""
    mostly = getattr(expectation, "mostly", 1.0)
    mostly = mostly if isinstance(mostly, float | int) else 1.0
    return round((1 - mostly) * len(check.table)) + 1 if mostly < 1 else 0


def _write_docs(context: Any, name: str, folder: Path) -> None:
    with atomic_directory(folder) as partial:
        site = {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(partial.resolve())},
        }
        context.add_data_docs_site(name, site)
        context.build_data_docs()
        for page in sorted(partial.rglob("*.html")):
            page.write_text(_normalised(page.read_text(encoding="utf-8")), encoding="utf-8")


def _normalised(page: str) -> str:
    """Replace all times in a page by RUN_TIME, and number its randomly named elements in their order."""
    numbers: dict[str, str] = {}
    page = TIME_STAMP.sub(RUN_TIME.strftime("%Y%m%dT%H%M%S.%fZ"), page)
    page = LOCAL_TIME.sub(lambda match: f"{RUN_TIME:%Y-%m-%d}{match[1]}{RUN_TIME:%H:%M:%S}Z", page)
    return UUID.sub(lambda match: numbers.setdefault(match[0], f"element-{len(numbers)}"), page)


def _describe(check: _Check, result: Any) -> dict[str, Any]:
    """Return the checkpoint's description, with the name of the table and the words of each expectation added."""
    description: dict[str, Any] = json.loads(result.describe(), parse_constant=str)  # JSON has no NaN and no infinity
    validation: dict[str, Any] = description["validation_results"][0]
    (found,) = result.run_results.values()
    for entry, expectation in zip(validation["expectations"], found.results, strict=True):
        entry["description"] = expectation.expectation_config.description
        for name, value in entry.get("result", {}).items():
            if name.startswith("partial_unexpected"):  # `outliers` has the full list
                entry["result"][name] = value[:EXAMPLES]
    validation["table"] = check.name
    return validation


def _join(validations: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the descriptions of all tables to one, in the form of a checkpoint with several validations."""
    successful = sum(validation["success"] for validation in validations)
    return {
        "success": successful == len(validations),
        "statistics": {
            "evaluated_validations": len(validations),
            "successful_validations": successful,
            "unsuccessful_validations": len(validations) - successful,
            "success_percent": successful / len(validations) * 100,
        },
        "validation_results": validations,
    }
