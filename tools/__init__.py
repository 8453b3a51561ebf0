"""Tools around the pipeline: is it what it says it is, can it be set up again, what differs from a profile."""

from pathlib import Path

import synthdrive

_beside = Path(__file__).resolve().parents[1] / "src" / "synthdrive"
_found = Path(synthdrive.__file__).resolve().parent
if _found != _beside:
    raise ImportError(f"these tools belong to {_beside}, synthdrive comes from {_found}; run them with PYTHONPATH=src")
