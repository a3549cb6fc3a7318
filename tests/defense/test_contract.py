"""What every training method promises: each term in a small method, and every method of the presets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from torch import Generator, nn

from immunize.batch import Batch
from immunize.config import dump, parse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, checkpoint, train
from immunize.defense.sampling import pairs_of_step
from immunize.defense.terms import Contrast, Divergence, Fused, Term
from immunize.defense.trainable import Prompts, learning, learnt
from immunize.models import Clip
from immunize.models.blending import frozen_copy
from immunize.models.initial import Small

ROOT = Path(__file__).parents[2]
ASCENT = {"kind": "pgd", "threat": {"norm": "linf", "eps": "8/255"}, "steps": 1}
LEAF = {"kind": "leaf", "threat": {"words": 1}, "rho": 3}
JOINT = {"kind": "sga", "again": False, "text": LEAF, "image": ASCENT}
ATTACKED = {"image": "attacked", "text": "attacked"}

TERMS: dict[str, dict[str, Any]] = {
    "contrast": {"outer": [{"kind": "contrast", **ATTACKED}], "inner": JOINT},
    "consistency": {"outer": [{"kind": "consistency", **ATTACKED}, {"kind": "contrast"}], "inner": JOINT},
    "anchor": {"outer": [{"kind": "anchor"}], "inner": {"kind": "drift", "image": ASCENT}},
    "anchor text": {"outer": [{"kind": "anchor", "tower": "text"}], "inner": {"kind": "drift", "text": LEAF}},
    "divergence": {"outer": [{"kind": "contrast"}, {"kind": "divergence", "through": True}], "inner": ASCENT},
    "divergence to the reference": {"outer": [{"kind": "divergence", "by": "reference"}], "inner": ASCENT},
    "attention": {"outer": [{"kind": "contrast", "image": "attacked"}, {"kind": "attention"}], "inner": ASCENT},
    "triplet": {"outer": [{"kind": "triplet", **ATTACKED}], "inner": JOINT},
    "fused": {"outer": [{"kind": "fused"}]},
    "last blocks": {"outer": [{"kind": "contrast"}], "trains": {"kind": "last_blocks", "count": 1}},
    "lora": {"outer": [{"kind": "contrast"}], "trains": {"kind": "lora", "rank": 2}},
    "prompts": {"outer": [{"kind": "contrast", **ATTACKED}], "inner": JOINT,
                "trains": {"kind": "prompts", "frame": 4, "words": 3}},
    "a frame": {"outer": [{"kind": "contrast", "image": "attacked"}], "inner": ASCENT,
                "trains": {"kind": "prompts", "frame": 4}},
}  # fmt: skip


def presets() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method of a preset, those alike but for sizes once; their language models are the test's own."""
    seen = []
    for path in sorted((ROOT / "presets").glob("*.yaml")):
        sections = yaml.safe_load(path.read_text())
        for name, recipe in {"pretrain": sections["pretrain"], **sections["immunize"]}.items():
            method = recipe["method"]
            shape = method["outer"], method.get("inner", {}).get("kind"), method.get("trains")
            if shape not in seen:
                seen.append(shape)
                yield f"{path.stem}/{name}", method


CASES = TERMS | dict(presets())


def speaking(value: Any, folder: str) -> Any:
    """The configuration with `folder` as its language model."""
    if isinstance(value, dict):
        return {key: folder if key == "language" else speaking(one, folder) for key, one in value.items()}
    return [speaking(one, folder) for one in value] if isinstance(value, list) else value


@pytest.fixture(params=CASES)
def method(request: pytest.FixtureRequest, language_folder: str) -> Method:
    return parse(speaking(CASES[request.param], language_folder), Method, request.param)


@pytest.fixture
def step(pairs: Pairs) -> Batch:
    return pairs_of_step(pairs, 0, 8, 0, captions=2)


def loss(method: Method, model: Clip, reference: Clip, batch: Batch, seed: int = 0) -> torch.Tensor:
    return method.loss(model, batch, Generator().manual_seed(seed), reference)


def moved(model: nn.Module, by: float = 0.02) -> None:
    """As after a few steps: a student that is not the reference any more, and has no weight of 0."""
    rng = Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn(parameter.shape, generator=rng)


def reached(method: Method, model: Clip) -> set[str]:
    """What of all that learns the loss depends on: the towers its terms look at, the temperature where there are logits."""
    towers = {"text" if view.tower == "text" else "vision" for view in method.wanted if view.by == "student"}
    learns = {id(p) for p in learnt(model, method.trains)}
    scaled = any(isinstance(term, Contrast | Divergence | Fused) for term in method.outer)
    return {
        name
        for name, p in model.named_parameters()
        if id(p) in learns
        and (scaled if name == "net.logit_scale" else ("vision" if "visual" in name else "text") in towers)
    }


def test_every_term_is_here() -> None:
    kinds = {term["kind"] for case in TERMS.values() for term in case["outer"]}
    assert kinds == {term.__dataclass_fields__["kind"].default for term in get_args(get_args(Term)[0])}


def test_it_is_its_own_configuration(method: Method) -> None:
    assert parse(dump(method), Method, "here") == method


def test_finite_seeded_and_nothing_left_behind(method: Method, fresh_model: Clip, step: Batch) -> None:
    """Training mode moves the batch norms' statistics, and nothing else; equal seeds are compared without."""
    reference, model = frozen_copy(fresh_model), fresh_model.eval()
    before = checkpoint.fingerprint(reference)
    moved(model)
    state, weights = torch.get_rng_state(), checkpoint.fingerprint(model)
    first, again, other = (loss(method, model, reference, step, seed) for seed in (0, 0, 1))
    assert first.isfinite() and first > 0 and first.item() == again.item() and other.isfinite()
    assert checkpoint.fingerprint(model) == weights
    model.train().net.visual.head.requires_grad_(False)
    flags, modes = [p.requires_grad for p in model.parameters()], [m.training for m in model.modules()]
    loss(method, model, reference, step)
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == flags and [m.training for m in model.modules()] == modes
    assert checkpoint.fingerprint(reference) == before and torch.equal(torch.get_rng_state(), state)
    assert not any(p.requires_grad or p.grad is not None for p in reference.parameters())


def test_gradients_reach_exactly_what_trains(method: Method, fresh_model: Clip, step: Batch) -> None:
    reference, model = frozen_copy(fresh_model), fresh_model
    with learning(model, method.trains) as parameters:
        moved(model)
        expected = reached(method, model)
        loss(method, model.train(), reference, step).backward()
        found = {name for name, p in model.named_parameters() if p.grad is not None}
        assert found == expected and len(found) > (0 if isinstance(method.trains, Prompts) else 5)
        assert {id(p) for p in parameters} >= {id(p) for n, p in model.named_parameters() if n in found}
        assert sum(bool(p.grad.abs().sum() > 0) for p in parameters if p.grad is not None) > 0.9 * len(found)
        assert all(p.grad is None for p in reference.parameters())


def test_the_order_of_the_pairs_is_nothing_to_it(method: Method, fresh_model: Clip, step: Batch) -> None:
    reference, model = frozen_copy(fresh_model), fresh_model.eval()
    moved(model)
    turned = step.take(torch.tensor([3, 7, 1, 0, 6, 2, 5, 4]))
    assert turned.captions != step.captions
    one, two = loss(method, model, reference, step), loss(method, model, reference, turned)
    assert one.item() == pytest.approx(two.item(), rel=1e-4)


@pytest.mark.parametrize("method", TERMS, indirect=True)
def test_stopped_and_resumed_is_undisturbed(method: Method, small: Small, pairs: Pairs, tmp_path: Path) -> None:
    """With everything that a state has to remember: a reference, running weights, a growing radius."""
    training = Training(
        steps=4, batch=8, lr=1e-3, warmup=1, log=1, checkpoint=2, captions=2, ramp=3, average=0.9, blend=0.7
    )
    whole, parts, again = (small.make(pairs.captions, 0) for _ in range(3))
    records = list(train(whole, pairs, method, training, tmp_path / "whole"))
    assert list(islice(train(parts, pairs, method, training, tmp_path / "parts"), 3)) == records[:3]
    assert (tmp_path / "parts" / checkpoint.STATE).exists()
    assert list(train(again, pairs, method, training, tmp_path / "parts")) == records
    assert checkpoint.fingerprint(again) == checkpoint.fingerprint(whole)
    plain = small.make(pairs.captions, 0)
    if isinstance(method.trains, Prompts):
        method.trains.give(plain)
    assert (
        whole.state_dict().keys() == plain.state_dict().keys()
    )  # a defended model is an ordinary model, but for a prompt
    assert checkpoint.fingerprint(whole) != checkpoint.fingerprint(plain)
    assert not whole.training and all(p.requires_grad for p in whole.parameters())
