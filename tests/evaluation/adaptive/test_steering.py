"""A policy is led into the action that fails, though each action and the whole look well to who attacks one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.batch import Batch
from immunize.evaluation.adaptive import Company, Oblivious, Response, Steerable, Steering, evaluate
from immunize.models.wrapped import Wrapped
from immunize.threats import Ball

ASCENT = PGD(Ball("linf", 3 / 255), steps=20, step=0.1, objective="margin")


class Sure(Wrapped):
    """Gives the same vector to all images and all captions: nothing ranks before the right one, ever."""

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.eye(7)[:1].expand(len(images), 7) + 0 * images.flatten(1).sum(dim=1, keepdim=True)

    def encode_text(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        return torch.eye(7)[:1].expand(len(tokens), 7)


@pytest.fixture
def chooser(make: Any, fragile: Any, plain: Batch) -> Any:
    """Rough images go to an action that nothing moves, smooth ones to one that anything does; nothing is flagged."""
    models = {"none": fragile, "sure": Sure(fragile)}
    return make.Planted(models, make.roughness, switch=float(1.3 * make.roughness(plain.images).max()))


class Open:
    """The same system with its policy's preference in sight."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.actions, self.threshold = system.actions, system.threshold
        self.under, self.suspicion, self.respond = system.under, system.suspicion, system.respond

    def preference(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        excess = self.system.suspicion(images, captions) - self.system.switch
        return torch.stack([-excess, excess], dim=1)


@pytest.mark.parametrize("opened", [False, True], ids=["through the suspicion", "through the preference"])
def test_the_weak_action_is_reached(opened: bool, chooser: Any, plain: Batch) -> None:
    """Who attacks the weak model alone makes the image rough, and meets the other action."""
    system = Open(chooser) if opened else chooser
    assert isinstance(system, Steerable) is opened
    steering = Steering(replace(ASCENT, steps=30), weights=(0.0,) if opened else (0.0, 1.0))
    table = evaluate(system, plain, {"alone": Oblivious(ASCENT), "steering": steering})
    assert not any(table.rows["alone"].success) and table.rows["alone"].actions["sure"] >= 8
    assert all(table.rows["steering"].success)


def test_a_point_counts_where_the_action_was_taken(chooser: Any, plain: Batch) -> None:
    with torch.no_grad():
        found = Steering(ASCENT, weights=(-1.0, 1.0))(chooser, plain, Generator().manual_seed(0))
    led = {name: one.outcome.success for name, one in found.items() if one.outcome is not None}
    assert led["none, 1"].all() and not led["none, -1"].any() and not led["sure, 1"].any()


class Together:
    """A policy of the batch: where its images are rough on average, all get the broken action."""

    threshold = torch.inf
    actions = ("none", "broken")

    def __init__(self, make: Any, model: Any, limit: float) -> None:
        self.roughness, self.limit, self.model = make.roughness, limit, model
        self.broken = make.Toy(model.weight, model.words.roll(1, dims=0), model.constant)

    def under(self, action: str) -> Any:
        return self.model if action == "none" else self.broken

    def suspicion(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        return self.roughness(images)

    def respond(self, images: Tensor, captions: Sequence[str]) -> Response:
        rough = bool(self.suspicion(images, captions).mean() > self.limit)
        model = self.broken if rough else self.model
        action = torch.full((len(images),), int(rough))
        text = model.encode_text(model.tokenize(captions))
        return Response(model.encode_image(images), text, action < 0, action)


def test_bad_company_harms_those_who_did_nothing(make: Any, fragile: Any, plain: Batch) -> None:
    limit = float(1.3 * make.roughness(plain.images).mean())
    company = Company(replace(ASCENT, threat=Ball("linf", 8 / 255)), share=0.25)
    system = Together(make, fragile, limit)
    found = company(system, plain, Generator().manual_seed(0))
    assert set(found) == {"suspicion up", "suspicion down"}
    for moved in found.values():
        assert torch.equal(moved.images[2:], plain.images[2:]) and not torch.equal(moved.images[:2], plain.images[:2])
    table = evaluate(system, plain, {"company": company})
    assert not any(table.rows["clean"].wrong) and all(table.rows["company"].success[2:])
    assert table.rows["company"].candidates["suspicion down"] <= 2


def test_who_is_judged_alone_has_no_company(chooser: Any, plain: Batch) -> None:
    table = evaluate(chooser, plain, {"company": Company(ASCENT)})
    assert table.rows["company"].success[2:] == table.rows["clean"].success[2:]
