"""Tools for the tree in the working directory; a tool that belongs to another tree is refused."""

from pathlib import Path

_here = Path("src/synthdrive").resolve()
_own = Path(__file__).resolve().parents[1]
if _here.is_dir() and _here != _own:
    raise ImportError(f"the tree here is {_here}, synthdrive comes from {_own}; run it with PYTHONPATH=src")
