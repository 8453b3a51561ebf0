"""Tools for the pipeline: verify and repair artifacts, apply profiles, audit and vendor the environment."""

from pathlib import Path

import synthdrive

_expected = Path(__file__).resolve().parents[1] / "src" / "synthdrive"
_found = Path(synthdrive.__file__).resolve().parent
if _found != _expected:
    raise ImportError(f"synthdrive comes from {_found}, but these tools need {_expected}; run them with PYTHONPATH=src")
