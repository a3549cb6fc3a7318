"""Where the first weights come from: a published model, or a small one built for a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from immunize.config import frozen
from immunize.models.clip import Architecture, Clip, build, load_trunk
from immunize.models.device import best
from immunize.models.pixels import Normalization
from immunize.models.published import published
from immunize.models.tokenizer import train


@frozen
class Published:
    """A model that open_clip knows, `ViT-B-32/openai`: see `immunize.models.published`."""

    name: str
    kind: Literal["published"] = "published"

    def make(self, captions: Sequence[str], seed: int) -> Clip:
        return published(self.name).to(best())


@frozen
class Small:
    """Two small towers with a tokenizer learnt from the captions.

    vision, text: open_clip's `vision_cfg` and `text_cfg` (its `vocab_size` and `context_length` are filled in).
    trunk: what timm's create_model is given besides; trunk_weights: a local safetensors file for the vision trunk.
    """

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    normalization: Normalization
    embed_dim: int = 128
    vocabulary: int = 600
    context: int = 64
    trunk: Mapping[str, Any] | None = None
    trunk_weights: str | None = None
    frozen_statistics: bool = False
    kind: Literal["small"] = "small"

    def make(self, captions: Sequence[str], seed: int) -> Clip:
        """The model with weights from `seed`; the same captions and seed give the same model."""
        tokenizer = train(captions, self.vocabulary, self.context)
        text = {**self.text, "vocab_size": tokenizer.vocabulary, "context_length": self.context}
        config = {"embed_dim": self.embed_dim, "vision_cfg": dict(self.vision), "text_cfg": text}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build(Architecture(config, self.normalization, self.trunk, self.frozen_statistics), tokenizer)
        if self.trunk_weights is not None:
            load_trunk(model, self.trunk_weights)
        return model.to(best())


Initial = Annotated[Published | Small, Field(discriminator="kind")]
