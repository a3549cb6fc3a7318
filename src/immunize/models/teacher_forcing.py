"""Training a captioner's decoder: at each place of a caption the next token, given the image and the true ones before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor, nn

from immunize.models.prefix_captioner import PrefixCaptioner

Record = dict[str, int | float]
LOG = 20  # steps between two records


def fit(
    captioner: PrefixCaptioner,
    images: UInt8[Tensor, "n 3 h w"],
    told: Sequence[tuple[int, str]],
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
) -> Iterator[Record]:
    """Train the decoder in place on (row of an image, caption), yielding {step, loss}, the loss in nats a token.

    The tower sees each image once, and stays as it is. Equal arguments give equal weights.
    """
    decoder, seen, rng = captioner.decoder, captioner.see(images), Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(1, steps), pct_start=0.1)
        decoder.train()
        for step in range(1, steps + 1):
            chosen = [told[c] for c in torch.randint(len(told), (batch,), generator=rng).tolist()]
            rows = torch.tensor([row for row, _ in chosen], device=seen.device)
            loss = decoder.loss(seen[rows], captioner.clip.tokenize([caption for _, caption in chosen]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % LOG == 0 or step == steps:
                yield {"step": step, "loss": round(loss.item(), 6)}
    decoder.eval()
