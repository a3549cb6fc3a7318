"""Which words of a caption matter: by masking each one, or by one gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions

Words = tuple[str, ...]


def by_masking(
    model: DualEncoder, image: Embedding, sentences: Sequence[Words], at: Sequence[tuple[int, int]], mask: str
) -> Float[Tensor, " e"]:
    """-<f(x), g(t with `mask` at that word)> for each (caption, word) of `at`: one encoding a word (arXiv:2004.09984)."""
    texts = [" ".join((*sentences[c][:p], mask, *sentences[c][p + 1 :])) for c, p in at]
    owner = torch.tensor([c for c, _ in at], device=image.device)
    return -(image[owner] * encode_captions(model, texts)).sum(dim=1)


def by_gradient(
    model: DualEncoder, image: Embedding, sentences: Sequence[Words], at: Sequence[tuple[int, int]]
) -> Float[Tensor, " e"]:
    """||d <f(x), g(t)> / d (vectors of that word)||_2 for each (caption, word) of `at`: one backward pass for all.

    Needs a tokenizer that splits words one by one, as byte-pair tokenizers do; a word cut off by the context length
    has importance 0.
    """
    tokens = model.tokenize([" ".join(words) for words in sentences])
    with torch.enable_grad():
        embedded = model.embed_tokens(tokens).detach().requires_grad_()
        (gradient,) = torch.autograd.grad((image * model.encode_text(tokens, embedded)).sum(), embedded)
    energy = torch.nn.functional.pad(gradient.square().sum(dim=-1).cumsum(dim=1), (1, 0))
    spans = _spans(model, sentences, at).clamp(max=tokens.shape[1]).to(energy.device)
    owner = torch.tensor([c for c, _ in at], device=energy.device)
    return (energy[owner, spans[:, 1]] - energy[owner, spans[:, 0]]).clamp(min=0).sqrt()


def _spans(model: DualEncoder, sentences: Sequence[Words], at: Sequence[tuple[int, int]]) -> Int[Tensor, "e 2"]:
    """First and last-plus-one token of each word, the start of text being token 0."""
    distinct = list(dict.fromkeys(word for words in sentences for word in words))
    ends_of_text = model.tokenize(distinct).argmax(dim=1)  # the end of text is the largest id
    pieces = dict(zip(distinct, (ends_of_text - 1).tolist()))
    ends = [list(accumulate((pieces[word] for word in words), initial=1)) for words in sentences]
    return torch.tensor([(ends[c][p], ends[c][p + 1]) for c, p in at]).view(-1, 2)
