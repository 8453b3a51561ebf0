"""Imported before `synthdrive` by every stage: what runs is the code in the `src` folder beside the stage.

Copies of a tree (DVC's queue, git worktrees, clones) share an environment, and each has to run its own code.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"

sys.path.insert(0, str(SOURCE))
# For the processes that a stage starts.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))

_found = find_spec("synthdrive")
_origin = _found.origin if _found is not None else None
if _origin is None or Path(_origin).resolve() != SOURCE / "synthdrive" / "__init__.py":
    raise SystemExit(f"error: {sys.argv[0]}: synthdrive comes from {_origin}, this stage belongs to {SOURCE}")
