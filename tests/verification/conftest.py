"""Tiny verifiers, one for each head, around a model that knows its pairs and an untrained one beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, BertAttack
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.threats import Ball, Edits
from immunize.verification import examples, fitting
from immunize.verification.examples import Examples
from immunize.verification.fitting import Material, Measured, Settings, Table
from immunize.verification.heads import Logistic, OneClass, Perceptron
from immunize.verification.probe import Probe, corrector, reference
from immunize.verification.verifier import Verifier
from immunize.verification.wording import Vocabulary

HEADS: dict[str, Any] = {
    "one_class": OneClass(),
    "logistic": Logistic(),
    "perceptron": Perceptron(epochs=15, batch=32),
}
SETTINGS = Settings(alpha=0.2, twice=0.5)


@dataclass(frozen=True, repr=False)
class Fitted:
    """What the tests share; `calibration` and `test` are pairs that no verifier was fitted on."""

    probe: Probe
    table: Table
    calibration: Measured
    material: Material
    held: Examples
    verifiers: dict[str, Verifier]


@pytest.fixture(scope="session")
def probe(trained: Clip, small: Small, pairs: Pairs, language_folder: str) -> Probe:
    bank = examples.of(pairs).take(torch.arange(40))
    other = small.make(pairs.captions, 1).eval()
    vocabulary = Vocabulary.of(pairs.captions)
    return Probe(
        trained,
        other,
        banks=(reference(trained, bank.images, bank.texts), reference(other, bank.images, bank.texts)),
        vocabulary=vocabulary,
        denoise=corrector(vocabulary, language_folder),
        language=language_folder,
    )


@pytest.fixture(scope="session")
def fitted(probe: Probe, pairs: Pairs, held_out: Pairs) -> Fitted:
    every = examples.of(pairs)
    given, held = every.take(torch.arange(60)), every.take(torch.arange(60, 96))
    rng = Generator().manual_seed(0)
    ascent = PGD(Ball("linf", 16 / 255), steps=3)
    typing = BertAttack(Edits(words=2), typos=3)
    attacked = {
        "image": examples.attacked(probe.answering, ascent, given, rng, block=30),
        "text": examples.attacked(probe.answering, typing, given, rng, block=30),
    }
    benign = {"noise": examples.noisy(given, 2 / 255, 0)}
    material = Material(given, examples.mismatched(given), attacked, benign)
    table, calibration = fitting.table(probe, material), fitting.measure(probe, held)
    verifiers = {name: fitting.fit_table(probe, table, calibration, SETTINGS, head) for name, head in HEADS.items()}
    return Fitted(probe, table, calibration, material, examples.of(held_out), verifiers)


@pytest.fixture(params=list(HEADS))
def verifier(request: pytest.FixtureRequest, fitted: Fitted) -> Verifier:
    return fitted.verifiers[request.param]
