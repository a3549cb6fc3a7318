"""A linear model that can be worked out by hand, a batch of the world, and one of each attack."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks import Attack, parts
from immunize.attacks.image import universal
from immunize.attacks.victim import bank_of
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import margin
from immunize.threats import Ball, Edits


class Linear(nn.Module):
    """f(x) = W x, not normalized, so that the gradient is the same everywhere; g(t) from the number of its letters."""

    def __init__(self, shape: tuple[int, ...] = (3, 4, 4), dimensions: int = 5) -> None:
        nn.Module.__init__(self)
        rng = Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(dimensions, torch.Size(shape).numel(), generator=rng))
        self.words = torch.randn(50, dimensions, generator=rng)

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(1.0)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def resolution(self) -> int:
        return 4

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return torch.tensor([[len(caption)] for caption in captions])

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.words[tokens]

    def encode_text(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        return (self.embed_tokens(tokens) if embedded is None else embedded)[:, 0]

    def encode_image(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T


@pytest.fixture
def linear() -> Linear:
    return Linear()


@pytest.fixture
def squares() -> Batch:
    """Four 4 x 4 images well inside the box, one caption each."""
    images = 0.3 + 0.4 * torch.rand(4, 3, 4, 4, generator=Generator().manual_seed(1))
    ids = ("a", "b", "c", "d")
    captions = ("x", "xx", "xxx", "xxxx")
    return Batch(images=images, captions=captions, owner=torch.arange(4), image_ids=ids, caption_ids=ids)


@pytest.fixture(scope="session")
def batch(pairs: Pairs) -> Batch:
    """Six scenes with their two captions each, of those that `trained` knows."""
    return pairs.batch(torch.tensor([3, 1, 20, 41, 77, 95]))


def _cases() -> dict[str, Callable[[str], Attack]]:
    """Name -> attack, of every room's cases.py."""
    found: dict[str, Callable[[str], Attack]] = {}
    for path in sorted(Path(__file__).parent.glob("*/cases.py")):
        found |= runpy.run_path(str(path))["CASES"]
    return found


CASES = _cases()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `name` runs once for each case."""
    if "name" in metafunc.fixturenames and "cases" in metafunc.fixturenames:
        metafunc.parametrize("name", list(CASES))


@pytest.fixture(scope="session")
def cases(language_folder: str, trained: Clip, batch: Batch) -> dict[str, Attack]:
    """Every kind of attack, under several threats; beside the language model is a universal perturbation of the batch."""
    universal.save(
        universal.fit(trained, [batch], Ball("linf", 8 / 255)), Path(language_folder) / "universal.safetensors"
    )
    return {name: make(language_folder) for name, make in CASES.items()}


@pytest.fixture(scope="session")
def outcomes(cases: dict[str, Attack], trained: Clip, batch: Batch) -> dict[str, Batch]:
    """The result of each case with seed 0, made when it is first asked for."""

    class Made(dict[str, Batch]):
        def __missing__(self, name: str) -> Batch:
            return self.setdefault(name, cases[name](trained, batch, Generator().manual_seed(0)))

    return Made()


@pytest.fixture(scope="session")
def balls(cases: dict[str, Attack]) -> Callable[[str], list[Ball]]:
    """balls(name): the threats to the pixels that the parts of that case keep to."""
    return lambda name: [one for one in _threats(cases[name]) if isinstance(one, Ball)]


@pytest.fixture(scope="session")
def edits(cases: dict[str, Attack]) -> Callable[[str], list[Edits]]:
    """edits(name): the threats to the words that the parts of that case keep to."""
    return lambda name: [one for one in _threats(cases[name]) if isinstance(one, Edits)]


def _threats(attack: Attack) -> list[object]:
    return [getattr(part, "threat", None) for part in parts(attack)]


@pytest.fixture(scope="session")
def distance(trained: Clip) -> Callable[[Batch], Tensor]:
    """distance(batch): -cos of every caption with its image."""

    def apart(batch: Batch) -> Tensor:
        image, text = encode_images(trained, batch.images), encode_captions(trained, batch.captions)
        return -(image[batch.owner] * text).sum(dim=1)

    return apart


@pytest.fixture(scope="session")
def margins(trained: Clip) -> Callable[[Batch], Tensor]:
    """margins(batch): how far each image is from ranking its own captions first; above 0 it is fooled."""
    return lambda batch: margin(encode_images(trained, batch.images), bank_of(trained, batch))
