"""Each term against loops over numbers: given embeddings of two captions of one image, one of another, three of the last."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from immunize.config import ConfigurationError, parse
from immunize.defense.terms import Anchor, Attention, Consistency, Contrast, Divergence, Fused, Term, Triplet
from immunize.defense.views import By, View, Views
from immunize.objectives import infonce

OWNER = torch.tensor([0, 0, 1, 2, 2, 2])
SCALES = {"student": 5.0, "reference": 3.0}


class Given(Views):
    """Views that nobody has to compute: random unit vectors, another for each view."""

    def __init__(self, order: Tensor | None = None, owner: Tensor = OWNER) -> None:
        self._order, self._owner = torch.arange(int(owner.max()) + 1) if order is None else order, owner
        self.made: dict[View, Tensor] = {}

    @property
    def owner(self) -> Tensor:
        return self._owner

    def scale(self, by: By = "student") -> Tensor:
        return torch.tensor(SCALES[by])

    def __call__(self, view: View) -> Tensor:
        if view not in self.made:
            seed = sum(ord(letter) * 7**i for i, letter in enumerate("".join(view)))
            rng = torch.Generator().manual_seed(seed % 2**31)
            shape = {"image": (len(self._order), 4), "text": (len(self._owner), 4), "places": (len(self._order), 5, 4)}
            found = normalize(torch.randn(shape[view.tower], generator=rng, dtype=torch.float64), dim=-1).float()
            self.made[view] = found.requires_grad_(view.by == "student")
        return self.made[view]


def vectors(views: Views, *view: str) -> list[Any]:
    return views(View(*view)).detach().double().tolist()  # type: ignore[arg-type]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def squared(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def softmax(logits: list[float]) -> list[float]:
    return [exp(x) / sum(map(exp, logits)) for x in logits]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def test_contrast() -> None:
    views = Given()
    image, text, owner = vectors(views, "image", "attacked"), vectors(views, "text"), OWNER.tolist()
    losses = []
    for c, o in enumerate(owner):
        own = exp(5 * dot(image[o], text[c]))
        wrong = sum(exp(5 * dot(image[o], text[d])) for d in range(6) if owner[d] != o)
        every = sum(exp(5 * dot(x, text[c])) for x in image)
        losses.append((-log(own / (own + wrong)) - log(own / every)) / 2)
    assert Contrast(image="attacked")(views).item() == pytest.approx(sum(losses) / 6, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_consistency(reduction: Any) -> None:
    views = Given()
    image, text = vectors(views, "image"), vectors(views, "text", "attacked")
    total = sum(squared(image[o], text[c]) for c, o in enumerate(OWNER.tolist()))
    found = Consistency(text="attacked", reduction=reduction)(views).item()
    assert found == pytest.approx(total / (6 if reduction == "mean" else 1), rel=1e-5)


@pytest.mark.parametrize(("tower", "count"), [("image", 3), ("text", 6)])
def test_anchor(tower: Any, count: int) -> None:
    views = Given()
    now, before = vectors(views, tower, "attacked"), vectors(views, tower, "clean", "reference")
    expected = sum(squared(a, b) for a, b in zip(now, before, strict=True)) / count
    assert Anchor(tower)(views).item() == pytest.approx(expected, rel=1e-5)
    assert Anchor(tower, of="clean")(views).item() != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("by", ["student", "reference"])
def test_divergence(by: Any) -> None:
    views, target_image = Given(), "attacked" if by == "reference" else "clean"
    found = [[5 * dot(x, t) for t in vectors(views, "text")] for x in vectors(views, "image", "attacked")]
    image, text = vectors(views, "image", target_image, by), vectors(views, "text", "clean", by)
    target = [[SCALES[by] * dot(x, t) for t in text] for x in image]
    rows = sum(kl(softmax(p), softmax(q)) for p, q in zip(target, found, strict=True)) / 3
    columns = sum(kl(softmax(list(p)), softmax(list(q))) for p, q in zip(zip(*target), zip(*found), strict=True)) / 6
    term = Divergence(by=by, target_image=target_image)  # type: ignore[arg-type]
    assert term(views).item() == pytest.approx((rows + columns) / 2, rel=1e-5)


def test_a_target_is_detached_unless_told_otherwise() -> None:
    for through in (False, True):
        views = Given()
        Divergence(through=through)(views).backward()
        assert (views(View("image", "clean")).grad is not None) == through
        assert views(View("image", "attacked")).grad is not None


def test_attention() -> None:
    views = Given()
    now, before = views(View("places", "attacked")), views(View("places", "clean", "reference"))
    text, was = vectors(views, "text"), vectors(views, "text", "clean", "reference")
    expected = [
        (dot(now[o, p].tolist(), text[c]) - dot(before[o, p].tolist(), was[c])) ** 2
        for c, o in enumerate(OWNER.tolist())
        for p in range(5)
    ]
    assert Attention()(views).item() == pytest.approx(sum(expected) / 30, rel=1e-5)


def test_triplet() -> None:
    views = Given()
    image, text, owner = vectors(views, "image"), vectors(views, "text"), OWNER.tolist()
    losses = []
    for c, o in enumerate(owner):
        own = dot(image[o], text[c])
        caption = max(dot(image[o], text[d]) for d in range(6) if owner[d] != o)
        picture = max(dot(image[i], text[c]) for i in range(3) if i != o)
        losses.append(max(0, 0.4 - own + caption) + max(0, 0.4 - own + picture))
    assert min(losses) < max(losses)
    assert Triplet(margin=0.4)(views).item() == pytest.approx(sum(losses) / 6, rel=1e-5)


def test_fused_is_inside_the_ball_and_worse_than_any_random_shift() -> None:
    """In each row the way to go is free, so one long step from 0 finds nearly the worst; random shifts stay below."""
    views, term = Given(), Fused(eps=0.3, steps=5, step=0.5)
    pair = views(View("image")).detach(), views(View("text")).detach()
    away = term.ascend(pair, views)
    assert all(d.norm(dim=1).max() <= 0.3 + 1e-6 and d.norm(dim=1).min() > 0.2 for d in away)
    loss = term(views).item()
    assert loss > Contrast()(views).item() + 0.1
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        image, text = (normalize(z + 0.3 * normalize(torch.randn(z.shape, generator=rng)), dim=1) for z in pair)
        assert infonce(image, text, OWNER, torch.tensor(5.0)).mean().item() < loss


def test_fused_ascends_by_hand() -> None:
    """One pair and one wrong image in the plane, one step: d is along the gradient, eps times step long."""
    views = Given(owner=torch.tensor([0, 1]))
    term = Fused(eps=0.2, steps=1, step=0.5)
    image, text = (views(View(tower)).detach().requires_grad_() for tower in ("image", "text"))  # type: ignore[arg-type]
    infonce(normalize(image, dim=1), normalize(text, dim=1), views.owner, views.scale()).sum().backward()
    assert image.grad is not None
    away, _ = term.ascend((image.detach(), text.detach()), views)
    assert torch.allclose(away, 0.1 * normalize(image.grad, dim=1), atol=1e-6)


@pytest.mark.parametrize(
    "term",
    [Contrast(), Consistency(), Anchor(), Anchor("text"), Divergence(), Attention(), Triplet(), Fused()],
    ids=lambda term: f"{term.kind}",
)
def test_the_order_of_the_pairs_is_nothing_to_a_term(term: Term) -> None:
    """Images and captions in another order, with the embeddings they had."""
    views, order = Given(), torch.tensor([2, 0, 1])
    loss = term(views)
    captions = torch.tensor([3, 4, 5, 0, 1, 2])
    moved = Given(owner=order.argsort()[OWNER][captions])
    moved.made = {v: x[captions if v.tower == "text" else order].detach() for v, x in views.made.items()}
    assert term(moved).item() == pytest.approx(loss.item(), rel=1e-5)


def test_gradients_go_through_what_the_term_looks_at_and_no_reference() -> None:
    for term in (Contrast("attacked", "attacked"), Anchor(), Attention("clean"), Divergence(by="reference"), Fused()):
        views = Given()
        term(views).backward()
        assert views.made.keys() == set(term.looks)
        for view, made in views.made.items():
            assert (made.grad is not None and made.grad.isfinite().all()) == (view.by == "student")


def test_no_gradient_where_nothing_has_moved_is_not_a_number() -> None:
    """Before the first step the student is the reference."""
    views = Given()
    for view in (View("image"), View("places"), View("text")):
        views.made[view._replace(by="reference")] = views(view).detach()
    for term in (Anchor(of="clean"), Attention(of="clean"), Anchor("text", of="clean")):
        term(views).backward()
        assert term(views).item() == 0.0
        assert all(made.grad is None or (made.grad == 0).all() for made in views.made.values())


def test_the_weight_is_the_methods_business() -> None:
    assert Contrast(weight=3.0)(Given()).item() == Contrast()(Given()).item()
    assert sqrt(4) == 2 and replace(Contrast(), weight=2.0).weight == 2.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "divergence", "image": "clean"}, "let one of the two differ"),
        ({"kind": "divergence", "by": "reference", "through": True}, "through: the reference does not learn"),
        ({"kind": "fused", "eps": 0}, "fused.eps"),
        ({"kind": "triplet", "margin": -1}, "triplet.margin"),
        ({"kind": "anchor", "tower": "places"}, "anchor.tower"),
        ({"kind": "contrast", "image": "dirty"}, "contrast.image"),
        ({"kind": "attention", "weight": -0.1}, "attention.weight"),
    ],
)
def test_what_makes_no_sense_is_refused(value: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(value, Term, "here")
