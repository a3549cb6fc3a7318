"""A causal transformer that goes on from what stands before the first word: a prefix of vectors that an image gave."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from immunize.config import frozen

Prefix = Float[Tensor, "n k d"]
HEAD = 32  # channels of an attention head
FEW = 128  # tokens that the nucleus is sought in first


@frozen
class Size:
    """width, a multiple of 32; layers; dropout in training; grid: the map is averaged to at most grid x grid places."""

    width: Annotated[int, Field(ge=HEAD, multiple_of=HEAD)] = 128
    layers: Annotated[int, Field(ge=1)] = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    grid: Annotated[int, Field(ge=1)] = 4


class Vocabulary(NamedTuple):
    """The ids that begin and end a caption, the end being the largest, and the longest caption in tokens, both included."""

    start: int
    end: int
    context: int


class PrefixDecoder(nn.Module):
    """p(t | x) = prod_j p(t_j | A v(x), t_<j): a linear map A of an image's vectors v, then GPT-2's blocks
    (ClipCap, arXiv:2111.09734 sec. 3, its mapping network being linear and its language model small and trained anew).

    channels: of v. Weights from torch's current seed.
    """

    def __init__(self, size: Size, channels: int, vocabulary: Vocabulary) -> None:
        nn.Module.__init__(self)
        self.vocabulary = vocabulary
        self.bridge = nn.Linear(channels, size.width)
        self.language = GPT2LMHeadModel(GPT2Config(
            vocab_size=vocabulary.end + 1, n_positions=1 + size.grid**2 + vocabulary.context,
            n_embd=size.width, n_layer=size.layers, n_head=size.width // HEAD,
            resid_pdrop=size.dropout, embd_pdrop=size.dropout, attn_pdrop=size.dropout,
            bos_token_id=vocabulary.start, eos_token_id=vocabulary.end,
        ))  # fmt: skip

    def loss(self, seen: Prefix, tokens: Int[Tensor, "n l"]) -> Float[Tensor, ""]:
        """Mean of -log p(t_j | x, t_<j) in nats over the tokens after the first, up to each caption's end."""
        prefix = self._prefix(seen)
        words = self.language.get_input_embeddings()(tokens[:, :-1])
        logits = self.language(inputs_embeds=torch.cat([prefix, words], dim=1)).logits[:, prefix.shape[1] :]
        real = torch.arange(1, tokens.shape[1], device=tokens.device) <= tokens.argmax(dim=1)[:, None]
        return cross_entropy(logits[real].float(), tokens[:, 1:][real])

    @torch.no_grad()
    def sample(self, seen: Prefix, n: int, rng: Generator, p: float, temperature: float) -> Int[Tensor, "m l"]:
        """`n` captions of each image, a row each, without the first token, up to the last end or the context.

        All rows go on together, the image being read once; what stands after a row's end means nothing. Each row has draws
        of its own, in order, so that images sampled in one block or in several get the same.
        """
        device = self.bridge.weight.device
        draws = torch.rand(len(seen) * n, self.vocabulary.context - 1, generator=rng).to(device)
        cache = self.language(inputs_embeds=self._prefix(seen), use_cache=True).past_key_values
        cache.batch_repeat_interleave(n)
        last = torch.full((len(draws),), self.vocabulary.start, device=device)
        ended = torch.zeros_like(last, dtype=torch.bool)
        found = []
        for draw in draws.unbind(dim=1):
            logits = self.language(input_ids=last[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
            last = nucleus(logits.float() / temperature, p, draw)
            found.append(last)
            ended |= last == self.vocabulary.end
            if ended.all():
                break
        return torch.stack(found, dim=1)

    def _prefix(self, seen: Prefix) -> Float[Tensor, "n k w"]:
        return self.bridge(seen * seen.shape[-1] ** 0.5)  # of unit vectors: entries of about 1


def nucleus(logits: Float[Tensor, "n v"], p: float, draws: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """One choice a row, by its draw in [0, 1), among the fewest of the likeliest whose chances sum to `p` or more
    (arXiv:1904.09751 sec. 3.1); `p` = 0 is the likeliest alone."""
    whole = logits.softmax(dim=-1)
    chances, order = whole.topk(min(FEW, whole.shape[1]), dim=-1)
    if (chances.sum(dim=-1) < p).any():  # seldom; a vocabulary takes long to sort
        chances, order = whole.sort(dim=-1, descending=True)
    upto = chances.cumsum(dim=-1)
    last = (upto - chances < p).sum(dim=-1, keepdim=True).sub(1).clamp(min=0)
    place = (upto <= draws[:, None] * upto.gather(1, last)).sum(dim=-1, keepdim=True).minimum(last)
    return order.gather(1, place).squeeze(1)
