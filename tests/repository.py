"""Places in the repository whose tests these are."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PARAMS = REPOSITORY / "params.yaml"
