"""Invented payoffs, cut into items to fit on and items to be judged on; and a tiny model that adapts, on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from immunize import models, verification
from immunize.adaptation import storage
from immunize.adaptation.adapted import Adapted, features
from immunize.adaptation.contenders.threshold import Rule
from immunize.adaptation.observation import Look
from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.rules import versions
from immunize.adaptation.shipped import Shipped
from immunize.adaptation.storage import Plan
from immunize.adaptation.stream import Stream
from immunize.adaptation.synthetic import Synthetic
from immunize.adaptation.tensor import fill
from immunize.adaptation.traffic import traffic
from immunize.adaptation.world import World
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.serving import Blur, Undefended
from immunize.verification import examples, fitting
from immunize.verification.fitting import Material, Settings
from immunize.verification.heads import Logistic
from immunize.verification.probe import Probe, corrector, reference
from immunize.verification.wording import Vocabulary

Worlds = Callable[..., tuple[World, World]]


@pytest.fixture(scope="session")
def invented() -> Payoffs:
    """Eight regimes, seven actions, features .4 apart."""
    return Synthetic().make()


@pytest.fixture(scope="session")
def worlds(invented: Payoffs) -> Worlds:
    """worlds("A", dwell=50.0) -> (train, test): halves of the items, the test fitted to nothing."""

    def make(version: str = "A", payoffs: Payoffs = invented, **stream: object) -> tuple[World, World]:
        half = len(payoffs) // 2
        train, test = payoffs.take(np.arange(half)), payoffs.take(np.arange(half, len(payoffs)))
        world = World.of(train, Stream(**stream), versions(train)[version], Synthetic().look)  # type: ignore[arg-type]
        return world, world.on(test)

    return make


@dataclass(frozen=True, repr=False)
class Shelf:
    """What an adapted model is made of, on disk and in hand; `calm` and `odd`: 16 pairs as they are, and wrongly paired."""

    folder: Path
    plan: Plan
    shipped: Shipped
    calm: tuple[torch.Tensor, tuple[str, ...]]
    odd: tuple[torch.Tensor, tuple[str, ...]]

    def load(self) -> Adapted:
        return storage.load(self.folder / "adapt")


@pytest.fixture(scope="session")
def shelf(trained: Clip, small: Small, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Two models, a verifier fitted on them, and a rule: `robust` where pairs match, `blur` or `clean` the less they do."""
    folder = tmp_path_factory.mktemp("shelf")
    other = small.make(pairs.captions, 1).eval()
    sources = (str(folder / "robust"), str(folder / "clean"))
    for model, at in zip((trained, other), sources):
        models.save(model, Path(at))
    every = examples.of(pairs)
    given, held = every.take(torch.arange(60)), every.take(torch.arange(60, 96))
    bank, vocabulary = given.take(torch.arange(40)), Vocabulary.of(pairs.captions)
    banks = (reference(trained, bank.images, bank.texts), reference(other, bank.images, bank.texts))
    probe = Probe(trained, other, banks, vocabulary, denoise=corrector(vocabulary, None), sources=sources)
    material = Material(
        given, examples.mismatched(given), {"noise": examples.noisy(given, 16 / 255, 0)}, {"less": given}
    )
    verifier = fitting.fit(probe, material, held, Settings(alpha=0.2, twice=0.5), Logistic())
    verification.save(verifier, folder / "verify")
    names = ("misaligned", "manipulated", *verifier.look(held.pixels[:1], held.texts[:1]).names)
    known = fill({"robust": trained, "clean": other}, traffic(trained, pairs.head(40), {}, None, 0),
                 partial(features, verifier), names)  # fmt: skip
    observer = Look(scores=("misaligned", "manipulated")).fit(known, 0, 4, np.random.default_rng(0))
    rule = Rule(observer.free, (1.0, 2.5), (0, 1, 2))  # the mean of `misaligned`, averaged over batches
    shipped = Shipped(rule, observer, ("robust", "blur", "clean"), names)
    actions = {
        "robust": (sources[0], Undefended()),
        "blur": (sources[0], Blur(sigma=0.75)),
        "clean": (sources[1], Undefended()),
    }
    plan = Plan(actions, str(folder / "verify"), "robust", batch=4)
    storage.save(plan, shipped, folder / "adapt")
    some = every.take(torch.arange(16))
    wrong = replace(some, texts=tuple(reversed(some.texts)))
    return Shelf(folder, plan, shipped, (some.pixels, some.texts), (wrong.pixels, wrong.texts))


@pytest.fixture
def adapted(shelf: Shelf) -> Adapted:
    """One of one's own, which has seen nothing."""
    return shelf.load()
