"""Independent implementations as oracles: the same model, images, labels and budget for theirs and for ours.

The peers are installed by the Makefile without their dependencies (requirements-oracles.lock); adv-lib imports a plotting
client at its top, for which an empty module stands in.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import Tensor, nn

from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.models.initial import Small

CLASSES = 10


class Classifier(nn.Module):
    """logits = scale * <f(x), g(prompt)>: what a library that knows only classifiers is given."""

    def __init__(self, model: Clip, prompts: tuple[str, ...]) -> None:
        nn.Module.__init__(self)
        self.model = model
        self.register_buffer("text", encode_captions(model, prompts))

    def forward(self, x: Tensor) -> Tensor:
        return self.model.logit_scale.detach() * self.model.encode_image(x) @ self.get_buffer("text").T


@pytest.fixture(scope="session", autouse=True)
def peers() -> Iterator[None]:
    """An empty `visdom`, which adv-lib imports and these tests never use."""
    module = types.ModuleType("visdom")
    module.__spec__ = ModuleSpec("visdom", None)
    module.Visdom = object  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "visdom", module)
        yield


@pytest.fixture(autouse=True)
def outdated() -> Iterator[None]:
    """foolbox and adv-lib import what is deprecated, the first time that they run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest, small: Small, taught: Callable[[Small], Clip]) -> Clip:
    """The small model with a stem of 8 channels, or of as many as a test asks for.

    With the usual 32 a gradient costs three times as much, and what fools it has four times the radius.
    """
    return taught(replace(small, trunk={**(small.trunk or {}), "stem_width": getattr(request, "param", 8)}))


@pytest.fixture(scope="session")
def classified(pairs: Pairs, trained: Clip) -> Batch:
    """Ninety-six images (one is a point of success) and ten prompts, the label being what the model says of the clean image."""
    some = pairs.batch(torch.arange(96))
    prompts = tuple(dict.fromkeys(some.captions))[::3][:CLASSES]
    with torch.no_grad():
        labels = Classifier(trained, prompts)(some.images).argmax(dim=1)
    return Batch(
        images=some.images,
        captions=(),
        owner=torch.empty(0, dtype=torch.int64),
        image_ids=some.image_ids,
        caption_ids=(),
        gallery=prompts,
        labels=labels,
    )


@pytest.fixture(scope="session")
def classifier(trained: Clip, classified: Batch) -> Iterator[Classifier]:
    """The model as a classifier of those prompts, parameters frozen, in evaluation mode."""
    wrapped = Classifier(trained, classified.gallery).eval()
    required = [p.requires_grad for p in trained.parameters()]
    for p in trained.parameters():
        p.requires_grad_(False)
    yield wrapped
    for p, flag in zip(trained.parameters(), required, strict=True):
        p.requires_grad_(flag)


@pytest.fixture(scope="session")
def rate(classifier: Classifier, classified: Batch) -> Callable[[Tensor], float]:
    """rate(images): the share that is classified otherwise than clean, by which theirs and ours are compared."""

    def share(images: Tensor) -> float:
        with torch.no_grad():
            return (classifier(images).argmax(dim=1) != classified.labels).float().mean().item()

    return share


@pytest.fixture(scope="session")
def over_seeds(rate: Callable[[Tensor], float]) -> Callable[[Callable[[int], Tensor]], float]:
    """over_seeds(attack): the mean rate of attack(seed) over three seeds, the global generator being seeded alike."""

    def mean(attack: Callable[[int], Tensor]) -> float:
        rates = []
        for seed in range(3):
            torch.manual_seed(seed)
            rates.append(rate(attack(seed)))
        return sum(rates) / len(rates)

    return mean
