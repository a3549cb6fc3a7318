"""One of each defense, with what they read from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip, save
from immunize.models.initial import Small
from immunize.serving import (
    Blur,
    Counterattack,
    Denoise,
    Ensemble,
    Interpolated,
    Jpeg,
    Quantize,
    Serving,
    Then,
    Undefended,
    Views,
)
from immunize.serving.spelling import vocabulary


class Places(NamedTuple):
    """Paths of what a defense may need: the words of the captions, a language model, another model."""

    words: str
    language: str
    other: str


CASES: dict[str, Callable[[Places], Serving]] = {
    "none": lambda at: Undefended(),
    "ensemble": lambda at: Ensemble(),
    "ensemble_drawn": lambda at: Ensemble(Views(("shift", "blur", "contrast", "jpeg")), seed=3),
    "jpeg": lambda at: Jpeg(75),
    "blur": lambda at: Blur(),
    "quantize": lambda at: Quantize(8),
    "counterattack": lambda at: Counterattack(gate="always"),
    "counterattack_gated": lambda at: Counterattack(tau=0.05, steps=1),
    "denoise": lambda at: Denoise(at.words, at.language),
    "denoise_spelling": lambda at: Denoise(at.words, reach=1),
    "interpolated": lambda at: Interpolated(at.other, 0.7),
    "then": lambda at: Then((Denoise(at.words, at.language), Ensemble(Views(("same", "shift"))), Quantize(32), Blur(0.5))),
    "then_weights": lambda at: Then((Jpeg(60), Interpolated(at.other, 0.5))),
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `case` runs once for each."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(CASES))


@pytest.fixture(scope="session")
def places(pairs: Pairs, small: Small, language_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder: Path = tmp_path_factory.mktemp("serving")
    (folder / "words.txt").write_text("\n".join(vocabulary(pairs.captions)))
    save(small.make(pairs.captions, 1), folder / "other")
    return Places(str(folder / "words.txt"), language_folder, str(folder / "other"))


@pytest.fixture(scope="session")
def defenses(places: Places) -> dict[str, Serving]:
    return {name: make(places) for name, make in CASES.items()}


@pytest.fixture(scope="session")
def batch(pairs: Pairs) -> Batch:
    """Six scenes with their two captions each, of those that `trained` knows."""
    return pairs.batch(torch.tensor([3, 1, 20, 41, 77, 95]))


@pytest.fixture
def clip(trained: Clip) -> Clip:
    return trained.eval()
