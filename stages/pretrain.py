"""Stage pretrain: masked or scene reconstruction, or forecasting, on synthetic windows, for one variant and seed.

On one device, run `python stages/pretrain.py ...`. For several, set SYNTHDRIVE_PROCESSES, or start it with torchrun or
`accelerate launch --config_file accelerate.yaml`.
"""

from __future__ import annotations

from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.core.errors import exit_on_error
from synthdrive.pretraining.pretrain import pretrain
from synthdrive.training.command_line import requested_run, training_parser


def main() -> None:
    """Parse the command line and train."""
    parser = training_parser(__doc__, "models/pretrained")
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"), help="scene store of windows")
    arguments = parser.parse_args()
    with exit_on_error():
        pretrain(requested_run(arguments), arguments.synthetic)


if __name__ == "__main__":
    main()
