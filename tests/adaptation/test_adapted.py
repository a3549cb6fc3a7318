"""A model behind a policy: what answers, what it remembers, what it refuses, and what it writes down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from immunize.adaptation.adapted import Adapted
from immunize.adaptation.contenders.fixed import Always, Mixing
from immunize.adaptation.observation import BOUND
from immunize.adaptation.payoffs import ABSTAIN
from immunize.adaptation.shipped import Shipped
from immunize.evaluation.adaptive import Response, System
from immunize.models import DualEncoder
from immunize.models.dual_encoder import Facing
from immunize.models.encode import encode_captions
from immunize.serving import Undefended

from .conftest import Shelf

FIELDS = Response.__slots__


def same(one: Response, other: Response) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_it_is_a_model_and_a_system_at_rest(adapted: Adapted, shelf: Shelf) -> None:
    assert isinstance(adapted, DualEncoder) and isinstance(adapted, Facing) and isinstance(adapted, System)
    images, _ = shelf.calm
    with torch.no_grad():
        assert torch.equal(adapted.encode_image(images), adapted.under("robust").encode_image(images))
    assert adapted.decisions == [] and adapted.threshold == 0.0


def test_the_policy_decides_and_the_action_answers(adapted: Adapted, shelf: Shelf) -> None:
    """The right pairs at rest, the wrong ones under something else; each batch in the embeddings of its own action."""
    images, texts = (torch.cat([shelf.calm[0], shelf.odd[0]]), shelf.calm[1] + shelf.odd[1])
    found = adapted.respond(images, texts)
    chosen = found.action.view(-1, 4)
    assert (chosen == chosen[:, :1]).all() and set(chosen[:4, 0].tolist()) == {0} and int(chosen[-1, 0]) > 0
    verdict = adapted.verifier.score(images, texts)
    assert torch.equal(found.flagged, verdict.flagged)
    with torch.no_grad():
        for i, action in enumerate(found.action.tolist()):
            model = adapted.defended[adapted.actions[action]]
            torch.testing.assert_close(found.image[i], model.encode_image(images[i : i + 1])[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found.text[i], encode_captions(model, texts[i : i + 1])[0], atol=1e-5, rtol=1e-4)
    assert [one.action for one in adapted.decisions] == [adapted.actions[i] for i in chosen[:, 0].tolist()]
    observer = shelf.shipped.observer
    most = observer.center[0] + BOUND * observer.spread[0]  # as far as an observation goes
    for one, scores in zip(adapted.decisions, verdict.misaligned.split(4)):
        assert one.scores["misaligned"] == pytest.approx(min(float(scores.mean()), most), abs=1e-2)
    with torch.no_grad():  # what answers now is what the last batch chose
        last = adapted.defended[adapted.decisions[-1].action]
        assert torch.equal(adapted.encode_image(images[:2]), last.encode_image(images[:2]))


def test_whole_batches_by_themselves_are_one_stream(adapted: Adapted, shelf: Shelf) -> None:
    images, texts = (torch.cat([shelf.odd[0], shelf.calm[0]]), shelf.odd[1] + shelf.calm[1])
    whole = adapted.respond(images, texts)
    decisions = list(adapted.decisions)
    adapted.begin()
    parts = [adapted.respond(images[i : i + 8], texts[i : i + 8]) for i in range(0, 32, 8)]
    assert same(whole, Response(*(torch.cat([getattr(one, name) for one in parts]) for name in FIELDS)))
    assert adapted.decisions == decisions and len(decisions) == 8


def test_memory_matters_unless_it_is_afresh(adapted: Adapted, shelf: Shelf) -> None:
    first = adapted.respond(*shelf.calm)
    adapted.respond(*shelf.odd)
    again = adapted.respond(*shelf.calm)
    assert not torch.equal(first.action, again.action)  # it still remembers the wrong pairs
    adapted.afresh = True
    for traffic in (shelf.odd, shelf.calm):
        assert same(adapted.respond(*shelf.calm), first)
        adapted.respond(*traffic)


def test_begin_forgets(adapted: Adapted, shelf: Shelf) -> None:
    first = adapted.respond(*shelf.odd)
    adapted.begin()
    assert adapted.decisions == [] and adapted.model is adapted.defended["robust"]
    assert same(adapted.respond(*shelf.odd), first)


def test_facing_tells_what_answers_and_leaves_the_model_alone(adapted: Adapted, shelf: Shelf) -> None:
    adapted.respond(*shelf.odd)
    steps, before = len(adapted.decisions), adapted.model
    policy = adapted.shipped.policy
    calm, odd = adapted.facing(*shelf.calm), adapted.facing(*shelf.odd)
    assert len(adapted.decisions) == steps and adapted.model is before and adapted.shipped.policy is policy
    adapted.begin()
    expected = adapted.respond(*shelf.odd)
    assert odd is adapted.defended[adapted.actions[int(expected.action[-1])]] is not calm
    assert calm is adapted.defended["robust"]


def test_facing_moves_no_policy_that_has_a_state(adapted: Adapted, shelf: Shelf) -> None:
    """One that draws: its next draws are the same, whether or not it was asked in between."""
    shipped = replace(shelf.shipped, policy=Mixing(np.full(3, 1 / 3)))
    model = Adapted(adapted.defended, adapted.verifier, shipped, "robust", batch=1)
    first, second = (model.respond(*shelf.calm).action for _ in range(2))
    model.begin()
    assert torch.equal(model.respond(*shelf.calm).action, first) and not torch.equal(first, second)
    model.facing(shelf.odd[0][:5], shelf.odd[1][:5])
    assert torch.equal(model.respond(*shelf.calm).action, second)


def abstaining(adapted: Adapted, shelf: Shelf) -> Adapted:
    actions = (*shelf.shipped.actions, ABSTAIN)
    shipped = replace(shelf.shipped, policy=Always(3), actions=actions)
    return Adapted(adapted.defended, adapted.verifier, shipped, "robust", batch=4)


def test_abstaining_flags_all_and_answers_as_at_rest(adapted: Adapted, shelf: Shelf) -> None:
    model = abstaining(adapted, shelf)
    found = model.respond(*shelf.calm)
    assert found.flagged.all() and set(found.action.tolist()) == {3}
    assert not adapted.respond(*shelf.calm).flagged.all()
    with torch.no_grad():
        torch.testing.assert_close(found.image, adapted.defended["robust"].encode_image(shelf.calm[0]))
    assert model.facing(*shelf.calm) is adapted.defended["robust"] is model.under(ABSTAIN)


def test_twins_are_what_is_attacked_and_not_what_answers(adapted: Adapted, shelf: Shelf) -> None:
    twin = Undefended().around(adapted.defended["clean"])
    model = Adapted(adapted.defended, adapted.verifier, shelf.shipped, "robust", twins={"blur": twin})
    assert model.under("blur") is twin and model.under("robust") is adapted.defended["robust"]
    assert model.defended["blur"] is adapted.defended["blur"]


def test_suspicion_is_above_zero_where_it_flags(adapted: Adapted, shelf: Shelf) -> None:
    for images, texts in (shelf.calm, shelf.odd):
        images = images.clone().requires_grad_()
        found = adapted.suspicion(images, texts)
        assert torch.equal(found > adapted.threshold, adapted.respond(images.detach(), texts).flagged)
        (slope,) = torch.autograd.grad(found.sum(), images)
        assert torch.isfinite(slope).all() and (slope.flatten(1).norm(dim=1) > 0).all()


def test_what_is_no_action_is_refused(adapted: Adapted, shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="'purify' is no action of this model; it has robust, blur, clean"):
        adapted.under("purify")
    two = {"robust": adapted.defended["robust"], "clean": adapted.defended["clean"]}
    with pytest.raises(ValueError, match="no model answers under blur; there are robust, clean"):
        Adapted(two, adapted.verifier, shelf.shipped, "robust")
    shipped: Shipped = replace(shelf.shipped, actions=(*shelf.shipped.actions, ABSTAIN))
    with pytest.raises(ValueError, match="no model answers under abstain"):
        Adapted(adapted.defended, adapted.verifier, shipped, ABSTAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t: (x, t[:-1]), "16 images and 15 texts"),
        (lambda x, t: (x, (*t, "more")), "16 images and 17 texts"),
        (lambda x, t: (x, "a" * 16), "not a str"),
        (lambda x, t: (torch.cat([x[:9], x[9:] * torch.nan]), t), r"images\[9\] has nan"),
        (lambda x, t: (x, (*t[:15], "\ud800")), r"texts\[15\] holds half"),
        (lambda x, t: (x[:0], ("left",)), "0 images and 1 texts"),
    ],
)
def test_what_cannot_be_judged_is_named_before_any_pair_is_seen(
    adapted: Adapted, shelf: Shelf, change: object, message: str
) -> None:
    images, texts = change(*shelf.calm)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        adapted.respond(images, texts)
    assert adapted.decisions == []


def test_nothing_asked_nothing_said(adapted: Adapted) -> None:
    none: Tensor = torch.zeros(0, 3, 32, 32)
    found = adapted.respond(none, [])
    assert found.image.shape == found.text.shape == (0, 16) and len(found.flagged) == len(found.action) == 0
    assert adapted.decisions == [] and adapted.suspicion(none, []).shape == (0,)
