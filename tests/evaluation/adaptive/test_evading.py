"""An attack that knows the detector, as one batch: of what it found, what a loop over pairs and candidates would take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD
from immunize.batch import Batch
from immunize.evaluation.adaptive import Aware, Evading, Known, Oblivious, Screened, Static, Target, evaluate
from immunize.evaluation.adaptive.evading import calmest
from immunize.threats import Ball

ASCENT = PGD(Ball("linf", 3 / 255), steps=20, step=0.1, objective="margin")


def test_the_calmest_that_fools_against_a_loop(make: Any, fragile: Any, plain: Batch) -> None:
    """Three candidates: as it was, which never fools and is the calmest of all; and two that were moved, one the more."""
    screened = Screened(fragile, lambda images, captions: make.roughness(images) - 1.0)
    moved = ASCENT(fragile, plain, Generator().manual_seed(0)).images
    noise = 0.05 * torch.rand(moved.shape, generator=Generator().manual_seed(1))
    half = torch.cat([(moved[:4] + noise[:4]).clamp(0, 1), plain.images[4:]])
    candidates = {"clean": plain, "far": replace(plain, images=moved), "half": replace(plain, images=half)}
    found = calmest(Known(screened), candidates)
    for i in range(len(plain)):
        rated = []
        for batch in candidates.values():
            served = (batch.images * 255).round() / 255
            with Target.of(screened, plain) as target:
                wrong = bool(target.serve(batch.images, torch.arange(len(plain))).margin[i] > 0)
            rated.append((not wrong, float(make.roughness(served)[i])))
        best = min(range(3), key=lambda k: rated[k])
        assert torch.equal(found.images[i], list(candidates.values())[best].images[i])
        assert found.outcome is not None and bool(found.outcome.success[i]) != rated[best][0]
        assert float(found.outcome.value[i]) == pytest.approx(1 - rated[best][1], abs=1e-4)
    assert found.outcome is not None and found.outcome.success.all()


def test_it_gets_past_what_stops_the_oblivious(make: Any, fragile: Any, plain: Batch) -> None:
    limit = float(1.3 * make.roughness(plain.images).max())
    alarm = lambda images, captions: make.roughness(images) - limit  # noqa: E731
    evading = Evading(Aware(ASCENT, weights=(0.0, 1.0)), alarm)(fragile, plain, Generator().manual_seed(0))
    careless = Oblivious(ASCENT)(Screened(fragile, alarm), plain, Generator().manual_seed(0))["none"]
    assert evading.outcome is not None and evading.outcome.success.all() and evading.outcome.backwards.min() > 0
    assert (alarm(evading.images, ()) <= 0.02 * limit).all() and (alarm(careless.images, ()) > 0).all()
    assert (evading.images - plain.images).abs().max() <= 3 / 255 + 1e-6


def test_a_screened_model_answers_as_the_model_and_flags_by_the_alarm(make: Any, fragile: Any, plain: Batch) -> None:
    middle = float(make.roughness(plain.images).median())
    screened = Screened(fragile, lambda images, captions: make.roughness(images) - middle)
    answer, alone = (one.respond(plain.images, plain.captions) for one in (screened, Static(fragile)))
    assert torch.equal(answer.image, alone.image) and torch.equal(answer.text, alone.text)
    assert torch.equal(answer.flagged, make.roughness(plain.images) > middle) and answer.flagged.any()
    assert not alone.flagged.any() and screened.threshold == 0


def test_actions_are_for_systems_with_a_choice(make: Any, fragile: Any, plain: Batch) -> None:
    """One set of attacks serves a system and the static model beside it; a wrong name is an error where there is a choice."""
    attack = Oblivious(ASCENT, actions=("second",))
    alone = evaluate(Static(fragile), plain, {"a": attack})
    assert list(alone.rows["a"].candidates) == ["none"]
    two = make.Planted({"first": fragile, "second": fragile})
    assert list(evaluate(two, plain, {"a": attack}).rows["a"].candidates) == ["second"]
    with pytest.raises(ValueError, match="actions: third unknown; the system has first, second"):
        evaluate(two, plain, {"a": Oblivious(ASCENT, actions=("third",))})
