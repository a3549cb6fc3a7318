"""Training a masked language model on captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from immunize.models.language import MaskedLanguage

Record = dict[str, int | float]
LOG = 20  # steps between two records
SHARE = 0.15  # of the pieces is predicted, 80 % of them masked, 10 % replaced, 10 % left (arXiv:1810.04805 sec. 3.1)


def fit(
    language: MaskedLanguage, captions: Sequence[str], *, steps: int, batch: int, lr: float, seed: int
) -> Iterator[Record]:
    """Train in place by masked language modeling, yielding {step, loss}; equal arguments give equal weights."""
    rng = Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout
        optimizer = torch.optim.AdamW(language.model.parameters(), lr=lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(1, steps), pct_start=0.1)
        language.model.train()
        for step in range(1, steps + 1):
            chosen = torch.randint(len(captions), (batch,), generator=rng).tolist()
            encoded = language.encode([captions[i].split() for i in chosen])
            ids, labels = masked(encoded["input_ids"], encoded["attention_mask"].bool(), language, rng)
            loss = language.model(input_ids=ids, attention_mask=encoded["attention_mask"], labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % LOG == 0 or step == steps:
                yield {"step": step, "loss": round(loss.item(), 6)}
    language.model.eval()


def masked(
    ids: Int[Tensor, "b l"], real: Bool[Tensor, "b l"], language: MaskedLanguage, rng: Generator
) -> tuple[Int[Tensor, "b l"], Int[Tensor, "b l"]]:
    """The corrupted ids and the labels (-100 where nothing is asked); special pieces are never touched."""
    special = torch.tensor(language.tokenizer.all_special_ids)
    asked = (torch.rand(ids.shape, generator=rng) < SHARE) & real & ~torch.isin(ids, special)
    how = torch.rand(ids.shape, generator=rng)
    random = torch.randint(len(language.tokenizer), ids.shape, generator=rng)
    corrupted = torch.where(asked & (how < 0.8), torch.full_like(ids, language.tokenizer.mask_token_id), ids)
    corrupted = torch.where(asked & (how >= 0.9), random, corrupted)
    return corrupted, torch.where(asked, ids, torch.full_like(ids, -100))
