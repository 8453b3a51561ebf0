"""A gate: tables are checked against suites of expectations, and the pipeline stops where one is not met."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # before the import: nothing is to be sent anywhere

import great_expectations as gx
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import Expectation

from synthdrive.core.artifacts import atomic_directory, write_json

EXAMPLES = 5  # offending rows that are listed


@dataclass(frozen=True)
class Check:
    """One table and what is expected of it.

    Attributes:
        name: of the table, for the report.
        table: a row per thing that is checked.
        keys: columns that name a row.
        expectations: each with a `description` in plain words.
    """

    name: str
    table: pd.DataFrame
    keys: Sequence[str]
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        success: whether every expectation is met.
        evaluated: how many expectations were.
        failures: for each that is not met, what was expected and what was found, in plain words.
    """

    success: bool
    evaluated: int
    failures: list[str]

    def report(self, gate: str, docs: Path) -> int:
        """Say in plain words what is not met; the exit status of the stage: 0, or 1 to stop the pipeline."""
        if self.success:
            print(f"{gate}: all {self.evaluated} expectations are met")
            return 0
        print(f"{gate}: {len(self.failures)} of {self.evaluated} expectations are not met:", file=sys.stderr)
        for failure in self.failures:
            print(f"  - {failure}", file=sys.stderr)
        print(f"Limits: section {gate} of params.yaml. Details: {docs}/index.html", file=sys.stderr)
        return 1


def run_gate(name: str, checks: Sequence[Check], out: Path, docs: Path | None) -> Verdict:
    """Check the tables, write the result and its Data Docs.

    Args:
        name: of the gate.
        checks: the tables with their expectations.
        out: JSON file for the checkpoint result's description; the same bytes for the same tables and expectations.
        docs: folder for the Data Docs (HTML with time stamps: not the same bytes twice); None for none.
    """
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # which would leave folders behind in /tmp
    context = gx.get_context(mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=stores))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas(name)
    validations: list[dict[str, Any]] = []
    failures: list[str] = []
    for check in checks:
        result = _run_check(context, source, check)
        validations.append(_describe(check, result))
        (found,) = result.run_results.values()
        failures += [_failure(check, expectation) for expectation in found.results if not expectation.success]
    if docs is not None:
        with atomic_directory(docs) as partial:
            _write_docs_to(context, name, partial)
            context.build_data_docs()
    write_json(out, _join(validations))
    return Verdict(not failures, sum(len(check.expectations) for check in checks), failures)


def _write_docs_to(context: Any, name: str, folder: Path) -> None:
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
    }
    context.add_data_docs_site(name, site)


def _run_check(context: Any, source: Any, check: Check) -> Any:
    suite = context.suites.add(gx.ExpectationSuite(name=check.name, expectations=list(check.expectations)))
    batch = source.add_dataframe_asset(check.name).add_batch_definition_whole_dataframe("all rows")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=check.name, data=batch, suite=suite))
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(check.keys),
        "partial_unexpected_count": EXAMPLES,
    }
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=check.name, validation_definitions=[definition], result_format=result_format)
    )
    return checkpoint.run(batch_parameters={"dataframe": check.table})


def _describe(check: Check, result: Any) -> dict[str, Any]:
    """The checkpoint's own description, with the table's name and each expectation's plain words added."""
    description: dict[str, Any] = json.loads(result.describe(), parse_constant=str)  # JSON has no NaN and no infinity
    validation: dict[str, Any] = description["validation_results"][0]
    (found,) = result.run_results.values()
    for entry, expectation in zip(validation["expectations"], found.results, strict=True):
        entry["description"] = expectation.expectation_config.description
    validation["table"] = check.name
    return validation


def _join(validations: list[dict[str, Any]]) -> dict[str, Any]:
    """One description of all tables, in the form of a checkpoint's with several validations."""
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


def _failure(check: Check, result: ExpectationValidationResult) -> str:
    """What was expected and what was found, in plain words."""
    config, found = result.expectation_config, result.result
    expected = f"{check.name}: {config.description or config.type}" if config else check.name
    if "unexpected_count" in found:
        missing = found.get("missing_count") or 0
        count, rows = found["unexpected_count"] + missing, found["element_count"]
        examples = [_example(entry, check.keys) for entry in found.get("partial_unexpected_index_list", [])]
        listed = f"; e.g. {', '.join(examples[:EXAMPLES])}" if examples else ""
        return f"{expected}. Found {count} of {rows} rows otherwise{listed}"
    if "observed_value" in found:
        return f"{expected}. Found {found['observed_value']}"
    return f"{expected}. Could not be checked: {_exception(result.exception_info)}"


def _example(entry: dict[str, Any], keys: Sequence[str]) -> str:
    name = " ".join(str(entry[key]) for key in keys if key in entry)
    values = [f"{column} {_number(value)}" for column, value in entry.items() if column not in keys]
    return f"{name} ({', '.join(values)})" if values else name


def _number(value: object) -> str:
    return f"{float(value):.4g}" if isinstance(value, float) else str(value)


def _exception(information: dict[str, Any]) -> str:
    entries = [information, *(entry for entry in information.values() if isinstance(entry, dict))]
    return next((str(entry["exception_message"]) for entry in entries if entry.get("exception_message")), "unknown")
