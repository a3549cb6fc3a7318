"""What every adaptive attack promises: inside its threat, the same by the same seed, the system left as it was, no miracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, parts
from immunize.attacks.black_box import EstimatedGradient, Square
from immunize.batch import Batch
from immunize.config import dump, parse
from immunize.data.loader import Pairs
from immunize.data.scenes.truth import is_true
from immunize.evaluation.adaptive import (
    AdaptiveAttack,
    Aware,
    Both,
    Company,
    GradientFree,
    Oblivious,
    Pipeline,
    Steering,
    Transferred,
    Wording,
    evaluate,
    paired,
)
from immunize.models import Clip
from immunize.threats import Ball, Edits

BALL = Ball("linf", 8 / 255)
PART = PGD(BALL, steps=3, step=0.5, objective="margin")
TEXT = Wording(Edits(words=2), typos=4, positions=2)

CASES: dict[str, Any] = {
    "oblivious": Oblivious(PART),
    "oblivious one": Oblivious(PART, actions=("none",)),
    "aware": Aware(PART, weights=(0.0, 1.0)),
    "aware l2": Aware(PGD(Ball("l2", 1.0), steps=3, objective="cross_entropy", restarts=2), weights=(0.1,)),
    "pipeline": Pipeline(PART, samples=2, votes=2, weights=(1.0,)),
    "steering": Steering(PART),
    "company": Company(PART, share=0.5),
    "square": GradientFree(Square(BALL, queries=12)),
    "nes": GradientFree(EstimatedGradient(BALL, queries=15, directions=3)),
    "wording": TEXT,
    "both": Both(Wording(Edits(words=1), typos=4, weights=(0.0,), actions=("none",)), Aware(PART, weights=(0.0,))),
}
ON_IMAGES = [name for name, attack in CASES.items() if attack.kind not in ("wording", "both")]


@pytest.fixture(scope="module")
def few(pairs: Pairs) -> Batch:
    return paired(pairs.batch(torch.tensor([3, 1, 20, 41, 77])))


@pytest.fixture
def system(make: Any, trained: Clip, few: Batch) -> Any:
    """Two actions, the second with a hard step, a policy and a detector that look at roughness."""
    rough = make.roughness(few.images)
    models = {"none": trained, "hard": make.Quantized(trained)}
    return make.Planted(models, make.roughness, float(1.5 * rough.max()), switch=float(rough.median()))


def run(attack: Any, system: Any, batch: Batch, seed: int = 0) -> dict[str, Batch]:
    return attack(system, batch, Generator().manual_seed(seed))


def test_every_member_of_the_union_is_here() -> None:
    assert {type(attack) for attack in CASES.values()} == set(get_args(get_args(AdaptiveAttack)[0]))


@pytest.mark.parametrize("name", CASES)
def test_an_attack_is_its_own_configuration(name: str) -> None:
    assert parse(dump(CASES[name]), AdaptiveAttack, "here") == CASES[name]


@pytest.mark.parametrize("name", CASES)
def test_the_promises(name: str, system: Any, few: Batch, trained: Clip) -> None:
    attack = CASES[name]
    state = {key: value.clone() for key, value in trained.state_dict().items()}
    flags = [(p.requires_grad, p.grad is None) for p in trained.parameters()], [m.training for m in trained.modules()]
    noise, images = torch.get_rng_state(), few.images.clone()
    found, again = run(attack, system, few), run(attack, system, few)
    assert found and found.keys() == again.keys()
    threats = [part.threat for part in parts(attack) if "threat" in type(part).__dataclass_fields__]
    for label, batch in found.items():
        assert torch.equal(batch.images, again[label].images) and batch.captions == again[label].captions
        assert batch.image_ids == few.image_ids and not batch.images.requires_grad and batch.outcome is not None
        check_pixels(few, batch, [threat for threat in threats if isinstance(threat, Ball)])
        check_words(few, batch, [threat for threat in threats if isinstance(threat, Edits)])
    assert all(torch.equal(state[key], value) for key, value in trained.state_dict().items())
    after = [(p.requires_grad, p.grad is None) for p in trained.parameters()], [m.training for m in trained.modules()]
    assert flags == after and torch.equal(noise, torch.get_rng_state()) and torch.equal(images, few.images)


def check_pixels(before: Batch, after: Batch, balls: list[Ball]) -> None:
    if not balls:
        assert torch.equal(before.images, after.images)
    for ball in balls:
        assert (ball.distance(after.images, before.images) <= ball.eps + 1e-5).all()
    assert after.images.min() >= 0 and after.images.max() <= 1


def check_words(before: Batch, after: Batch, edits: list[Edits]) -> None:
    if not edits:
        assert after.captions == before.captions
        return
    for old, new, truth in zip(before.captions, after.captions, before.truth):
        changed = sum(a != b for a, b in zip(old.split(), new.split(), strict=True))
        assert changed <= max(edit.words for edit in edits) and truth is not None and is_true(new, truth)


@pytest.mark.parametrize("name", [name for name in ON_IMAGES if name != "company"])
def test_an_empty_ball_changes_nothing(name: str, make: Any, fragile: Any, plain: Batch) -> None:
    attack = CASES[name]
    zero = Ball("linf", 0.0)
    attack = replace(attack, attack=replace(attack.attack, threat=zero))
    models = {"none": fragile, "hard": make.Quantized(fragile)}
    for batch in run(attack, make.Planted(models, make.roughness), plain).values():
        assert torch.allclose(batch.images, plain.images, atol=1e-7)


@pytest.mark.parametrize("name", [*ON_IMAGES, "transferred"])
def test_a_margin_larger_than_the_ball_is_not_broken(
    name: str, make: Any, robust: Any, fragile: Any, quarters: Batch
) -> None:
    """Each quarter lies 0.4 from the nearest wrong answer; who breaks that at 8/255 or less has left the ball."""
    system = make.Planted({"none": robust, "hard": make.Quantized(robust)}, make.roughness)
    attack = Transferred(PART, fragile) if name == "transferred" else CASES[name]
    row = evaluate(system, quarters, {"it": attack}).rows["it"]
    assert not any(row.success) and not any(row.wrong)


def test_edits_are_searched_with_detector_and_tokenizer_in_the_loop(trained: Clip, few: Batch, make: Any) -> None:
    """A denoiser that undoes every edit leaves nothing to gain, and a detector of longer captions keeps them short."""
    lengths = {len(caption) for caption in few.captions}

    def longer(images: Any, captions: Any) -> Any:
        return torch.tensor([float(len(caption) not in lengths) for caption in captions])

    free = run(TEXT, make.Planted({"none": trained}), few)["none, 0"]
    assert free.captions != few.captions
    table = evaluate(make.Planted({"none": Repaired(trained, few.captions)}), few, {"words": TEXT})
    assert table.rows["words"].success == table.rows["clean"].success
    assert any(len(caption) not in lengths for caption in free.captions)
    watched = run(replace(TEXT, weights=(1e3,)), make.Planted({"none": trained}, longer, threshold=0.5), few)
    assert all(len(caption) in lengths for caption in watched["none, 1000"].captions)


class Repaired(torch.nn.Module):
    """Reads every caption as the first of the known ones that shares most of its words: all edits are undone."""

    def __init__(self, model: Clip, known: tuple[str, ...]) -> None:
        torch.nn.Module.__init__(self)
        self.model, self.known = model, known
        self.encode_image, self.encode_text = model.encode_image, model.encode_text
        self.embed_tokens, self.device, self.resolution = model.embed_tokens, model.device, model.resolution

    @property
    def logit_scale(self) -> Any:
        return self.model.logit_scale

    def tokenize(self, captions: Any) -> Any:
        return self.model.tokenize([self.read(caption) for caption in captions])

    def read(self, caption: str) -> str:
        words = caption.split()
        return max(
            self.known,
            key=lambda one: sum(a == b for a, b in zip(one.split(), words)) - abs(len(one.split()) - len(words)),
        )


def test_the_page_is_there() -> None:
    page = (Path(__file__).parents[3] / "docs" / "methods" / "adaptive_evaluation.md").read_text()
    assert "**Source.**" in page and "**Code.**" in page and "## D" in page
    assert all(type(attack).__name__ in page for attack in CASES.values())
