"""Encoding many captions or images without gradients: each distinct caption once, sorted by length, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.models.dual_encoder import DualEncoder
from immunize.models.remembering import Remembering
from immunize.models.words import Tokenize


@torch.no_grad()
def encode_captions(
    model: DualEncoder, captions: Sequence[str], block: int = 128, tokenize: Tokenize | None = None
) -> Embedding:
    """g(t) for each caption, in order; a repeated caption is encoded once and padding stays short.

    `tokenize` stands in for the model's own: `models.words.WordTokens` where captions share their words.
    """
    place: dict[str, int] = {}
    index = [place.setdefault(caption, len(place)) for caption in captions]
    tokenize = tokenize or model.tokenize

    def encode(distinct: Sequence[str]) -> Embedding:
        return _encode_distinct(model, tokenize(distinct), block)

    encoded = model.recall(tuple(place), encode) if isinstance(model, Remembering) else encode(tuple(place))
    return encoded[torch.tensor(index, device=encoded.device)]


def _encode_distinct(model: DualEncoder, tokens: Int[Tensor, "c l"], block: int) -> Embedding:
    lengths = tokens.shape[1] - (tokens != 0).long().flip(1).argmax(dim=1)  # 0 pads, and is CLIP's own "!" too
    order = lengths.argsort(stable=True)
    parts = [model.encode_text(tokens[rows, : int(lengths[rows].max())]) for rows in order.split(block)]
    return torch.cat(parts)[order.argsort()]


@torch.no_grad()
def encode_images(model: DualEncoder, images: Tensor, block: int = 256) -> Embedding:
    """f(x) for each image, uint8 or float in [0, 1], a block at a time."""
    scale = 255.0 if images.dtype == torch.uint8 else 1.0
    return torch.cat([model.encode_image(part.float() / scale) for part in images.split(block)])


@contextmanager
def untouched(model: DualEncoder) -> Iterator[None]:
    """Evaluation mode, frozen parameters, gradients on; every flag is restored, module by module.

    Raises RuntimeError under torch.inference_mode(), where no gradient can be had.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("attacks need gradients: use torch.no_grad() around them instead of torch.inference_mode()")
    module = model if isinstance(model, torch.nn.Module) else torch.nn.Module()
    modes = [(m, m.training) for m in module.modules()]
    flags = [(p, p.requires_grad) for p in module.parameters()]
    try:
        for m, _ in modes:
            vars(m)["training"] = False  # a module's own setter takes milliseconds in each step of training
        for p, _ in flags:
            p.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for m, training in modes:
            vars(m)["training"] = training
        for p, required in flags:
            p.requires_grad_(required)
