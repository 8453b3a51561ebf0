"""Progress of long work: one bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LINE_EVERY_SECONDS = 60.0


def track(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Pass the items on and show how far they are.

    Args:
        label: what is being done, as the bar's title.
        total: number of items where it is known.
        unit: name of an item.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=unit)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= LINE_EVERY_SECONDS:
            last = time.monotonic()
            print(f"{label}: {done}{'' if total is None else f' of {total}'} {unit}", file=sys.stderr, flush=True)
