"""Makes the helper modules of tests/models and tests/training importable here."""

from __future__ import annotations

import sys
from pathlib import Path

for package in ("models", "training"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / package))
