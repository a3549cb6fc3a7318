"""What is minimized: the terms by hand, and no gradient of the inner attack in the weights'."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, SGA, BertAttack
from immunize.batch import Batch
from immunize.config import ConfigurationError, parse
from immunize.data.loader import Pairs
from immunize.defense import Method
from immunize.defense.sampling import pairs_of_step
from immunize.defense.terms import Consistency, Contrast
from immunize.defense.trainable import learnt
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.models.remembering import Remembering
from immunize.objectives import consistency, infonce
from immunize.threats import Ball, Edits

EPS = {"norm": "linf", "eps": "8/255"}
BOTH: Any = ("attacked", "attacked")
INNER = SGA(BertAttack(Edits(), typos=4, importance="gradient"), PGD(Ball("linf", 8 / 255), steps=2), again=False)


@pytest.fixture
def step(pairs: Pairs) -> Batch:
    return pairs_of_step(pairs, 0, 8, 0)


def rng() -> Generator:
    return Generator().manual_seed(0)


def by_hand(model: Clip, batch: Batch, contrast: float, consistent: float) -> torch.Tensor:
    image, text = model.encode_image(batch.images), model.encode_text(model.tokenize(batch.captions))
    pair = (image, text, batch.owner, model.logit_scale)
    return contrast * infonce(*pair).mean() + consistent * consistency(*pair).mean()


@pytest.mark.parametrize(
    "method",
    [
        Method((Contrast(),)),
        Method((Contrast(weight=0.7), Consistency(weight=0.3))),
        Method((Contrast(*BOTH),), INNER),
        Method((Contrast(*BOTH, weight=2.0), Consistency(*BOTH, weight=0.1), Contrast(weight=0.5)), INNER),
    ],
    ids=["finetune", "pretrain", "mat", "all"],
)
def test_loss_and_gradients_are_those_by_hand(method: Method, fresh_model: Clip, step: Batch) -> None:
    """The inner attack leaves nothing in the gradients: with the attacked batch given, they are the same to the bit."""
    model = fresh_model.eval()
    attacked = method.attacked(model, step, rng())
    expected = torch.zeros(())
    for term in method.outer:
        weights = (term.weight, 0.0) if isinstance(term, Contrast) else (0.0, term.weight)
        expected = expected + by_hand(model, step if term.image == "clean" else attacked, *weights)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    loss = method.loss(model, step, rng())
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys() and len(found) > 10
    assert all(torch.allclose(found[name], gradients[name], rtol=1e-3, atol=1e-5) for name in found)


def test_the_inner_attack_fills_the_memory_that_it_is_given(
    fresh_model: Clip, step: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a second part of a step finds the captions that the parts share."""
    model = Remembering(fresh_model.eval())
    attacked = Method((Contrast(*BOTH),), INNER).attacked(model, step, rng())
    monkeypatch.setattr(Clip, "encode_text", None)
    assert len(encode_captions(model, (*step.captions, *attacked.captions))) == 2 * len(step.captions)


def test_a_batch_is_normalized_by_its_own_statistics_while_it_is_attacked_by_the_running_ones(
    fresh_model: Clip, step: Batch
) -> None:
    """The attack sees the model that will be deployed; the loss trains as usual, and only it moves the statistics."""
    model = fresh_model.train()
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    Method((Contrast(*BOTH),), INNER).loss(model, step, rng())
    assert model.training and norm.num_batches_tracked == 1


def test_who_learns(fresh_model: Clip) -> None:
    def names(trains: Any) -> set[str]:
        chosen = {id(p) for p in learnt(fresh_model, Method((Contrast(),), trains=trains).trains)}
        return {name for name, p in fresh_model.named_parameters() if id(p) in chosen}

    everything = names("both")
    assert everything == {name for name, _ in fresh_model.named_parameters()}
    assert names("vision") == {name for name in everything if name.startswith("net.visual")}
    assert names("text") == {name for name in everything if not name.startswith("net.visual.trunk")}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"outer": [{"kind": "contrast", "text": "attacked"}]}, "needs an inner attack"),
        ({"outer": [{"kind": "contrast"}], "inner": {"kind": "noise", "threat": EPS}}, "inner: no term looks"),
        ({"outer": []}, "outer: "),
        ({"outer": [{"kind": "consistency"}]}, "outer: consistency alone"),
        ({"outer": [{"kind": "contrast", "weight": 0.0}]}, r"outer\.0\.contrast\.weight"),
        ({"outer": [{"kind": "kontrast"}]}, r"outer\.0: .*'divergence'"),
        ({"outer": [{"kind": "divergence"}], "inner": {"kind": "fgsn"}}, "inner: .*'drift'"),
        ({"outer": [{"kind": "contrast"}], "trains": "head"}, "trains"),
    ],
)
def test_what_makes_no_sense_is_refused(value: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(value, Method, "here")
