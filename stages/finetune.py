"""Stage finetune: train a variant's DenseTNT on recorded scenes, from pre-trained weights or from scratch.

On one device, run `python stages/finetune.py ...`. For several, set SYNTHDRIVE_PROCESSES, or start it with torchrun or
`accelerate launch --config_file accelerate.yaml`.
"""

from __future__ import annotations

from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.core.errors import exit_on_error
from synthdrive.finetuning.finetune import finetune
from synthdrive.training.command_line import requested_run, training_parser


def main() -> None:
    """Parse the command line and train."""
    parser = training_parser(__doc__, "models/finetuned")
    parser.add_argument("--scenes", type=Path, default=Path("data/scenes/train"), help="scene store to train on")
    pretrained = "checkpoint of its pre-training (required unless the variant is trained from scratch)"
    parser.add_argument("--pretrained", type=Path, help=pretrained)
    arguments = parser.parse_args()
    with exit_on_error():
        finetune(requested_run(arguments), arguments.scenes, arguments.pretrained)


if __name__ == "__main__":
    main()
