"""Systems whose fate is known: hidden slopes, a detector that looks at one thing, a policy with a weak spot, a safe margin."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, normalize, pad

from immunize.batch import Batch
from immunize.evaluation.adaptive import Response
from immunize.models import DualEncoder
from immunize.models.wrapped import Wrapped

Score = Callable[[Tensor, Sequence[str]], Tensor]
WORDS = ("ash", "birch", "cedar", "date", "elm", "fig", "gum", "hazel")


class Toy(nn.Module):
    """f(x) = unit(W (x - 1/2), constant); a caption's vector is its word's row of `words`."""

    def __init__(self, weight: Tensor, words: Tensor, constant: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.weight, self.words, self.constant = nn.Parameter(weight), nn.Parameter(words), constant

    logit_scale = torch.tensor(10.0)
    device = torch.device("cpu")
    resolution = 8

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return torch.tensor([[WORDS.index(caption)] for caption in captions]).view(-1, 1)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.words[tokens]

    def encode_text(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        return (self.embed_tokens(tokens) if embedded is None else embedded)[:, 0]

    def encode_image(self, images: Tensor) -> Tensor:
        seen = (images - 0.5).flatten(1) @ self.weight.T
        return normalize(torch.cat([seen, torch.full_like(seen[:, :1], self.constant)], dim=1), dim=1)


class Masked(Wrapped):
    """Steps of 88 degrees to and fro: the identity forward, a vanished slope backward (reference/adaptive.md, section 7)."""

    def __init__(self, model: DualEncoder, dtype: torch.dtype = torch.float32) -> None:
        Wrapped.__init__(self, model)
        self.dtype = dtype

    def encode_image(self, images: Tensor) -> Tensor:
        u = self.model.encode_image(images).to(self.dtype)
        t = torch.eye(u.shape[1])[-1].to(self.dtype)  # the constant: every image lies less than 88 degrees from it
        for _ in range(10):
            g = (t - (u @ t)[:, None] * u).detach()
            u = normalize(u + 30.0 * g / g.norm(dim=-1, keepdim=True).clamp(min=1e-6), dim=-1)
        return u.float()


class Quantized(Wrapped):
    """round(127 x) / 127 before the model; its slope is zero."""

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image((images * 127).round() / 127)


class Purified(Quantized):
    """The same, and it says what it does to an image."""

    def clean(self, images: Tensor) -> Tensor:
        return (images * 127).round() / 127


class Jpeg(Wrapped):
    """A real JPEG file in between: no graph at all."""

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(torch.stack([self._file(image) for image in images.detach()]))

    def _file(self, image: Tensor) -> Tensor:
        buffer, levels = io.BytesIO(), (image * 255).round().byte().permute(1, 2, 0).numpy()
        Picture.fromarray(levels).save(buffer, format="jpeg", quality=75)
        return torch.from_numpy(np.array(Picture.open(buffer))).permute(2, 0, 1).float() / 255


class Shaky(Wrapped):
    """Noise on the image, another one at each call."""

    def __init__(self, model: DualEncoder, size: float = 0.02) -> None:
        Wrapped.__init__(self, model)
        self.size, self.rng = size, Generator().manual_seed(0)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(images + self.size * torch.randn(images.shape, generator=self.rng))


class Planted:
    """Actions, a score with its threshold, and a policy on the score: the last action above `switch`, else the first."""

    def __init__(
        self,
        models: Mapping[str, DualEncoder],
        score: Score | None = None,
        threshold: float = inf,
        switch: float | None = None,
        served: Mapping[str, DualEncoder] | None = None,
    ) -> None:
        self.models, self.threshold, self.switch = dict(models), threshold, switch
        self.actions, self.score, self.served = tuple(models), score, {**models, **(served or {})}
        self.asked = 0

    def under(self, action: str) -> DualEncoder:
        return self.models[action]

    def suspicion(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        return images.flatten(1).sum(dim=1) * 0 if self.score is None else self.score(images, captions)

    def respond(self, images: Tensor, captions: Sequence[str]) -> Response:
        self.asked += len(images)
        score = self.suspicion(images, captions)
        last = len(self.actions) - 1
        action = (score > self.switch).long() * last if self.switch is not None else torch.full((len(images),), last)
        image, text = [], []
        for name in self.actions:
            model = self.served[name]
            image.append(model.encode_image(images))
            text.append(model.encode_text(model.tokenize(captions)))
        rows = torch.arange(len(images))
        return Response(
            torch.stack(image)[action, rows], torch.stack(text)[action, rows], score > self.threshold, action
        )


def roughness(images: Tensor, captions: Sequence[str] = ()) -> Tensor:
    """How much of an image a 3 x 3 mean takes away, in units of 1e-4: what a careless perturbation shows in."""
    smooth = avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (images - smooth).square().flatten(1).mean(dim=1) * 1e4


def pixels(count: int = 8, side: int = 8, seed: int = 3) -> Tensor:
    return torch.rand(count, 3, side, side, generator=Generator().manual_seed(seed))


def batched(images: Tensor) -> Batch:
    names = WORDS[: len(images)]
    return Batch(images=images, captions=names, owner=torch.arange(len(names)), image_ids=names, caption_ids=names)


@pytest.fixture
def plain() -> Batch:
    """Eight smooth images, each a faint pattern on gray."""
    smooth = avg_pool2d(pixels(), 2).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return batched(0.5 + 0.04 * (smooth - smooth.mean(dim=0)))


@pytest.fixture
def fragile(plain: Batch) -> Toy:
    """Right on `plain`, and led anywhere by a few levels."""
    toy = Toy(torch.randn(6, 192, generator=Generator().manual_seed(0)), torch.zeros(8, 7), constant=0.5)
    toy.words.data = toy.encode_image(plain.images).data
    return toy


@pytest.fixture
def quarters() -> Batch:
    """Four images, each with one bright quarter."""
    images = torch.full((4, 3, 8, 8), 0.1)
    for k, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        images[k, :, row : row + 4, column : column + 4] = 0.9
    return batched(images)


@pytest.fixture
def robust(quarters: Batch) -> Toy:
    """The mean of each quarter: to tell two apart wrongly each must move by 0.4."""
    return Toy((quarters.images > 0.5).float().flatten(1) / 48, torch.eye(4, 5))


@pytest.fixture
def make() -> Any:
    """make.Masked(model), make.Planted({"none": model}), make.roughness, ..."""

    class Makers:
        pass

    for one in (Toy, Masked, Quantized, Purified, Jpeg, Shaky, Planted):
        setattr(Makers, one.__name__, one)
    Makers.roughness = staticmethod(roughness)  # type: ignore[attr-defined]
    return Makers
