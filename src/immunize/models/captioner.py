"""Captions of images by a model, published or the preset's own, for pictures whose truth nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from immunize.config import ConfigurationError
from immunize.models.device import best
from immunize.models.prefix_captioner import DESCRIPTION, PrefixCaptioner, different, read

Images = UInt8[Tensor, "n 3 h w"]


@runtime_checkable
class Captioner(Protocol):
    """What can say in words what an image shows."""

    def describe(self, images: Images, n: int, seed: int) -> list[tuple[str, ...]]:
        """At most `n` different captions of each image; the same images in the same order and seed give the same."""
        ...


class Generative:
    """A model of transformers that writes text from pixels alone (BLIP and its kin), sampled from its nucleus.

    p: the share of the probability that is sampled from (arXiv:1904.09751 sec. 3.1); longest: in tokens.
    """

    def __init__(self, model: Any, processor: Any, *, p: float = 0.9, longest: int = 30, block: int = 32) -> None:
        self.model = model.eval()
        self.processor = processor
        self.p = p
        self.longest = longest
        self.block = block

    @torch.no_grad()
    def describe(self, images: Images, n: int, seed: int) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        device = self.model.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # generation takes no generator
            for part in images.split(self.block):
                found += self._describe(part, n)
        return found

    def _describe(self, images: Images, n: int) -> list[tuple[str, ...]]:
        inputs = self.processor(images=list(images), return_tensors="pt").to(self.model.device)
        tokens = self.model.generate(
            **inputs, do_sample=True, top_p=self.p, num_return_sequences=n, max_new_tokens=self.longest
        )
        texts = [" ".join(text.split()) for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        return [different(texts[i : i + n]) for i in range(0, len(texts), n)]


def load(folder: str) -> Generative | PrefixCaptioner:
    """The captioner in a local folder, of the stage `captioner` or one that transformers loads; nothing is downloaded.

    Raises ConfigurationError saying how to get one.
    """
    if (Path(folder) / DESCRIPTION).exists():
        return read(Path(folder))
    if not (Path(folder) / "config.json").exists():
        raise ConfigurationError(
            f"{folder} holds no captioner (no config.json). Put one there, for example by "
            f"`hf download Salesforce/blip-image-captioning-base --local-dir {folder}`; or name models/<preset>/captioner, "
            f"with `steps` above 0 in the preset's section `captioner`"
        )
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{folder} holds no captioner that transformers can load for image to text: {error}"
        ) from None
    return Generative(model.to(best()), processor)
