"""What every attack promises of its result, over the whole union: a new one is tested by having a case in its cases.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from math import isinf
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import Attack, Noise
from immunize.batch import Batch
from immunize.config import ConfigurationError, dump, parse
from immunize.data.scenes.truth import is_true
from immunize.models import Clip
from immunize.threats import Ball, Edits

Score = Callable[[Batch], Tensor]
Threats = Callable[[str], list[Any]]
DOCS = Path(__file__).parents[2] / "docs" / "methods"


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def moved(before: Batch, after: Batch) -> list[int]:
    return [sum(a != b for a, b in zip(x.split(), y.split())) for x, y in zip(before.captions, after.captions)]


def emptied(attack: Any) -> Any:
    """The attack with every threat in it of size zero."""
    if isinstance(attack, Ball):
        return replace(attack, eps=0.0)
    if isinstance(attack, Edits):
        return replace(attack, words=0)
    if isinstance(attack, tuple):
        return tuple(emptied(one) for one in attack)
    if not is_dataclass(attack):
        return attack
    return replace(attack, **{field.name: emptied(getattr(attack, field.name)) for field in fields(attack)})  # type: ignore[type-var]


def test_every_member_of_the_union_is_here(cases: dict[str, Attack]) -> None:
    assert {type(attack) for attack in cases.values()} == set(get_args(get_args(Attack)[0]))


def test_every_attack_has_its_page(name: str, cases: dict[str, Attack]) -> None:
    page = (DOCS / f"{cases[name].kind}.md").read_text()
    assert "**Source.**" in page and "**Code.**" in page and "## D" in page


def test_the_object_is_its_own_configuration(name: str, cases: dict[str, Attack]) -> None:
    assert parse(dump(cases[name]), Attack, "here") == cases[name]


def test_an_unknown_attack_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'pgd', .*'bert_attack', .*'sga'"):
        parse({"kind": "fgsn"}, Attack, "here")


def test_pixels_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch, balls: Threats
) -> None:
    images = outcomes[name].images
    if not balls(name):
        assert torch.equal(images, batch.images)
        return
    for ball in balls(name):
        assert (ball.distance(images, batch.images) <= ball.eps + 1e-5).all()
    assert not torch.equal(images, batch.images)
    assert images.min() >= 0 and images.max() <= 1


def test_words_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch, edits: Threats
) -> None:
    threats, after = edits(name), outcomes[name]
    if not threats:
        assert after.captions == batch.captions
        return
    assert 0 < max(moved(batch, after)) <= max(threat.words for threat in threats)
    for c, (old, new) in enumerate(zip(batch.captions, after.captions, strict=True)):
        changed = [a for a, b in zip(old.split(), new.split(), strict=True) if a != b]
        assert all(threat.editable(word) for threat in threats for word in changed)
        truth = batch.truth[int(batch.owner[c])]
        assert truth is not None and (is_true(new, truth) or not all(threat.same_meaning for threat in threats))


def test_what_is_not_attacked_is_handed_on(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    after = outcomes[name]
    assert (after.image_ids, after.caption_ids, after.truth) == (batch.image_ids, batch.caption_ids, batch.truth)
    assert torch.equal(after.owner, batch.owner) and not after.images.requires_grad


def test_every_attack_says_what_it_did(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], margins: Score
) -> None:
    """The verdict is that of the model on what was returned, and costs are counted (attacks.md 5.3)."""
    outcome = outcomes[name].outcome
    assert outcome is not None
    values = margins(outcomes[name])
    sure = values.abs() > 1e-3
    assert outcome.success[sure].tolist() == (values > 0)[sure].tolist()
    assert outcome.value.isfinite().all()
    spent = outcome.forwards + outcome.texts
    assert (spent > 0).all() and all((count >= 0).all() for count in outcome.rejected.values())


def test_a_threat_of_size_zero_is_the_identity(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch
) -> None:
    after = emptied(cases[name])(trained, batch, rng())
    assert torch.equal(after.images, batch.images) and after.captions == batch.captions


@pytest.fixture(scope="module")
def floor(trained: Clip, batch: Batch, balls: Threats) -> Callable[[str], Batch]:
    """floor(name): a random point of that case's threat to the pixels; without one, or without an end to it, the batch."""

    def noise(name: str) -> Batch:
        ball = next(iter(balls(name)), None)
        return batch if ball is None or isinf(ball.eps) else Noise(ball)(trained, batch, rng())

    return noise


def test_stronger_than_noise(
    name: str,
    cases: dict[str, Attack],
    outcomes: dict[str, Batch],
    floor: Callable[[str], Batch],
    distance: Score,
    margins: Score,
) -> None:
    """Further from the right captions than a random point of the same threat, on average over the images."""
    if isinstance(cases[name], Noise):
        return
    apart = (distance(outcomes[name]) - distance(floor(name))).mean() > 0.01
    ranked = margins(outcomes[name]).mean() > margins(floor(name)).mean() + 0.01
    assert apart or ranked
