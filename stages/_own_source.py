"""Makes a stage run the code in the `src` folder of its own checkout; every stage imports it before `synthdrive`.

Several checkouts (DVC's queue, git worktrees, clones) may share an environment, and each must run its own code.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"

sys.path.insert(0, str(SOURCE))
# For processes that the stage starts
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))

if find_spec("omegaconf") is None:
    raise SystemExit(f"error: {sys.argv[0]}: no package omegaconf; activate the environment: . .venv/bin/activate")

_found = find_spec("synthdrive")
_origin = _found.origin if _found is not None else None
if _origin is None or Path(_origin).resolve() != SOURCE / "synthdrive" / "__init__.py":
    raise SystemExit(f"error: {sys.argv[0]}: synthdrive comes from {_origin}, but this stage needs that in {SOURCE}")
