"""Peak memory of JSMA on an image of 224 pixels a side: python -m benchmarks.memory, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from benchmarks.victim import CLASSES, fresh
from torch import Generator

from immunize.attacks.image.jsma import JSMA
from immunize.batch import Batch
from immunize.threats import Ball

SIDE = 224


def main() -> None:
    """Print the peak resident size in GiB, the libraries included."""
    batch = Batch(
        images=torch.rand(1, 3, SIDE, SIDE, generator=Generator().manual_seed(0)),
        captions=(),
        owner=torch.empty(0, dtype=torch.int64),
        image_ids=("0",),
        caption_ids=(),
        gallery=tuple(str(k) for k in range(CLASSES)),
        labels=torch.tensor([0]),
    )
    JSMA(Ball("l0", 8.0))(fresh(side=SIDE), batch, Generator())
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 2**20)  # getrusage would count what the parent held when it started this process


if __name__ == "__main__":
    main()
