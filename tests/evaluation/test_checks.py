"""Each reason to distrust is planted once, and the flag that names it falls; an honest result has none."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD, SGA, BertAttack, Noise
from immunize.batch import Batch, Outcome
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import Claims
from immunize.evaluation.checks import distrust
from immunize.evaluation.suite import Attacked, evaluate, score
from immunize.models import Clip
from immunize.threats import Ball

HONEST = Clip.encode_image


def fallen(model: Clip, attacked: Attacked) -> set[str]:
    return {flag.name for flag in distrust(model, attacked, images=8, seed=0) if not flag.ok}


def planted(model: Clip, pairs: Pairs, clean: Pairs, attack: Any) -> Attacked:
    """A set as if `attack` had made it, which says nothing of itself."""
    before, after = score(model, clean), score(model, pairs)
    return Attacked(
        pairs=pairs, clean=clean, before=before, after=after, count=len(clean), name="a", attack=attack, seconds=0.0
    )


def outcome(model: Clip, attack: Any, some: Pairs) -> Attacked:
    (attacked,) = evaluate(model, {"attack": attack}, some)
    return attacked


def test_an_honest_result_is_trusted(trained: Clip, some: Pairs, joint: SGA) -> None:
    flags = distrust(trained, outcome(trained, joint, some), images=8, seed=0)
    assert [flag.name for flag in flags if not flag.ok] == []
    assert {flag.name for flag in flags} >= {
        "outputs_fixed", "unit_norm", "not_above_clean", "inside_ball", "inside_edits", "text_attack_acts",
        "gradients_alive", "beats_noise", "more_steps_help", "batch_size_free", "huge_epsilon_breaks",
        "captions_still_true", "claims_hold",
    }  # fmt: skip
    assert all(flag.meaning and isinstance(flag.ok, bool) for flag in flags)


def test_each_attack_has_its_own_flags(trained: Clip, some: Pairs, pgd: PGD) -> None:
    assert [f.name for f in distrust(trained, outcome(trained, None, some), images=8, seed=0)] == [
        "outputs_fixed", "unit_norm",
    ]  # fmt: skip
    noise = fallen(trained, outcome(trained, Noise(Ball("linf", 8 / 255)), some))
    assert noise <= {"not_above_clean"}  # among sixteen images luck may do that
    names = {
        f.name for f in distrust(trained, outcome(trained, replace(pgd, objective="infonce"), some), images=8, seed=0)
    }
    assert "batch_size_free" not in names and "text_attack_acts" not in names and "gradients_alive" in names


def test_the_flags_are_the_same_each_time(trained: Clip, some: Pairs, pgd: PGD) -> None:
    attacked = outcome(trained, pgd, some)
    assert distrust(trained, attacked, images=8, seed=1) == distrust(trained, attacked, images=8, seed=1)


def shaky(self: Clip, images: Tensor) -> Tensor:
    noise = torch.randn(len(images), 16, generator=Generator().manual_seed(int(images.sum()) + len(CALLS)))
    CALLS.append(1)
    return torch.nn.functional.normalize(HONEST(self, images) + 0.01 * noise, dim=1)


CALLS: list[int] = []


@pytest.mark.parametrize(
    ("encode", "names"),
    [
        (shaky, {"outputs_fixed"}),
        (lambda self, images: 3 * HONEST(self, images), {"unit_norm"}),
        (
            lambda self, images: HONEST(
                self, images + (images * 8).round() / 8 - images.detach() - images + images.detach()
            ),
            {"gradients_alive", "huge_epsilon_breaks"},
        ),
        (lambda self, images: HONEST(self, images * 0), {"gradients_alive", "beats_noise", "huge_epsilon_breaks"}),
    ],
    ids=["random", "scaled", "quantized", "constant"],
)
def test_a_model_that_cheats(
    encode: Any, names: set[str], trained: Clip, some: Pairs, pgd: PGD, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random outputs, a hidden scale, and gradients that are zero though the model can be fooled."""
    monkeypatch.setattr(Clip, "encode_image", encode)
    assert names <= fallen(trained, outcome(trained, pgd, some))


def test_recall_that_rises_under_attack(trained: Clip, some: Pairs, pgd: PGD) -> None:
    wrong = replace(some, captions=some.captions[2:] + some.captions[:2])
    assert "not_above_clean" in fallen(trained, planted(trained, some, wrong, pgd))


@pytest.mark.parametrize(("levels", "inside"), [(8, True), (9, False)])
def test_a_pixel_that_left_the_ball(levels: int, inside: bool, trained: Clip, some: Pairs, pgd: PGD) -> None:
    images = some.images.clone()
    images[3, 1, 5, 7] = images[3, 1, 5, 7].int() + (levels if images[3, 1, 5, 7] < 128 else -levels)
    attacked = planted(trained, replace(some, images=images), some, pgd)
    assert ("inside_ball" in fallen(trained, attacked)) is not inside


def test_captions_beyond_the_budget_untrue_or_untouched(trained: Clip, some: Pairs, typing: BertAttack) -> None:
    def names(captions: tuple[str, ...]) -> set[str]:
        return fallen(trained, planted(trained, replace(some, captions=captions), some, typing))

    assert names(some.captions) == {"text_attack_acts"}
    three = " ".join("qqqq" if i < 3 else word for i, word in enumerate(some.captions[0].split()))
    assert {"inside_edits", "captions_still_true"} <= names((three, *some.captions[1:]))


def test_a_success_that_is_none(trained: Clip, some: Pairs, pgd: PGD) -> None:
    """The attack's word against the model's, on images of which the model is sure (attacks.md 5.3)."""
    attacked = outcome(trained, pgd, some)
    assert attacked.claims is not None and "claims_hold" not in fallen(trained, attacked)
    said, exact = attacked.claims.outcome, attacked.claims.exact.clone()
    lie = replace(said, success=~said.success)
    liar = replace(attacked, claims=attacked.claims._replace(outcome=lie))
    (flag,) = (flag for flag in distrust(trained, liar, images=0, seed=0) if flag.name == "claims_hold")
    assert not flag.ok and flag.value > 0.9
    unsure = attacked.claims._replace(outcome=lie, exact=exact.sign() * 1e-4)
    assert "claims_hold" not in fallen(trained, replace(attacked, claims=unsure))


@pytest.mark.parametrize(
    ("ball", "outside"),
    [(Ball("l2", 1.0), 300), (Ball("l0", 3.0), 4), (Ball("linf", inf), None), (Ball("l2", 0.0), 40)],
)
def test_every_norm_has_its_ball(ball: Ball, outside: int | None, trained: Clip, some: Pairs, pgd: PGD) -> None:
    """One level a channel for l_2 (sqrt(900)/255 = 0.12 and rounding), pixels for l_0; an infinite ball has no outside."""
    attack = replace(pgd, threat=ball)

    def names(levels: int, pixels: int) -> set[str]:
        images = some.images.clone()
        flat = images[2].flatten(1)
        flat[:, :pixels] = torch.where(flat[:, :pixels] < 128, flat[:, :pixels] + levels, flat[:, :pixels] - levels)
        return fallen(trained, planted(trained, replace(some, images=images), some, attack))

    level = 100 if ball.norm == "l2" else 7
    if outside is None:
        assert "inside_ball" not in names(100, 900)
    else:
        assert "inside_ball" in names(level, outside)
    if ball.norm == "l0":
        assert "inside_ball" not in names(level, 3)
    if ball == Ball("l2", 1.0):
        assert "inside_ball" not in names(2, 900)


def test_text_that_did_not_need_to_act(trained: Clip, some: Pairs, typing: BertAttack) -> None:
    """An image that is fooled as it is needs no edit: only the captions of the others count."""
    attacked = planted(trained, some, some, typing)
    nothing = torch.zeros(16, dtype=torch.int64)
    said = Outcome(success=nothing == 0, value=nothing.float(), forwards=nothing, backwards=nothing, texts=nothing)
    assert "text_attack_acts" in fallen(trained, attacked)
    fooled = Claims(said, exact=torch.ones(16), rounded=torch.ones(16))
    assert "text_attack_acts" not in fallen(trained, replace(attacked, claims=fooled))


def test_without_a_probe_the_model_is_not_asked(trained: Clip, some: Pairs, pgd: PGD) -> None:
    names = {flag.name for flag in distrust(trained, outcome(trained, pgd, some), images=0, seed=0)}
    assert names == {"not_above_clean", "inside_ball", "inside_edits", "captions_still_true", "claims_hold"}


def weaker_with_more_steps(self: PGD, model: Clip, batch: Batch, rng: Generator) -> Batch:
    return batch if self.steps > 4 else PLAIN(self, model, batch, rng)


def weaker_in_small_batches(self: PGD, model: Clip, batch: Batch, rng: Generator) -> Batch:
    return batch if len(batch) < 8 else PLAIN(self, model, batch, rng)


PLAIN = PGD.__call__


@pytest.mark.parametrize(
    ("call", "name"), [(weaker_with_more_steps, "more_steps_help"), (weaker_in_small_batches, "batch_size_free")]
)
def test_an_attack_that_is_broken(
    call: Any, name: str, trained: Clip, some: Pairs, pgd: PGD, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = outcome(trained, pgd, some)
    monkeypatch.setattr(PGD, "__call__", call)
    assert name in fallen(trained, attacked)
