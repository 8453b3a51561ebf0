"""Section `finetune`: how DenseTNT is trained on recorded scenes."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.config.declaring import value
from synthdrive.config.training import OptimisationParameters


@dataclass(frozen=True)
class FinetuneParameters(OptimisationParameters):
    """Section `finetune` of params.yaml.

    Attributes:
        transfer: modules of the pre-trained model whose tensors are loaded ("encoder", "encoder.global_graph"); the
            rest starts fresh. A variant without pre-training transfers nothing, whatever it says here.
        fraction: of the scenes, to train on; the subsets of one seed are nested, and the same in every variant.
    """

    transfer: list[str] = value(distinct=True)
    fraction: float = value(above=0, at_most=1, unit="")
