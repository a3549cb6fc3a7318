"""Stage `language`: the masked language model that proposes substitutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from immunize.config import frozen, load, preset
from immunize.data.loader import captions_of
from immunize.models import language
from immunize.models.masking import fit
from immunize.models.memory import keep_freed
from immunize.progress import watch


@frozen
class Size:
    """A small BERT: pieces in the vocabulary, width, layers, longest sentence in pieces."""

    vocabulary: int = 2000
    width: int = 128
    layers: int = 2
    length: int = 64


@frozen
class Params:
    """`pretrained`: a model of the hub or a folder, taken as it is; otherwise one of `size` is trained."""

    pretrained: str | None = None
    size: Size = Size()
    steps: int = 400
    batch: int = 128
    lr: float = 1e-3
    seed: int = 0


def make(params: Params, captions: Sequence[str]) -> language.MaskedLanguage:
    """The model that the section `language` describes."""
    if params.pretrained is not None:
        return language.load(params.pretrained)
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model = language.fresh(captions, **asdict(params.size))
    records = fit(model, captions, steps=params.steps, batch=params.batch, lr=params.lr, seed=params.seed)
    for _ in watch(records, params.steps, "language"):
        continue
    return model


def main() -> None:
    captions = captions_of(Path("data") / preset() / "collect", "train")
    make(load("language", Params), captions).save(Path("models") / preset() / "language")


if __name__ == "__main__":
    keep_freed()
    main()
