"""Each reason to distrust is planted once, and the flag that names it falls; an honest result has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD, SGA, BertAttack, Noise
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.evaluation.checks import distrust
from immunize.evaluation.suite import Attacked, evaluate
from immunize.models import Clip
from immunize.threats import Ball

HONEST = Clip.encode_image


def fallen(model: Clip, attacked: Attacked) -> set[str]:
    return {flag.name for flag in distrust(model, attacked, images=8, seed=0) if not flag.ok}


def outcome(model: Clip, attack: Any, some: Pairs) -> Attacked:
    (attacked,) = evaluate(model, {"attack": attack}, some)
    return attacked


def test_an_honest_result_is_trusted(trained: Clip, some: Pairs, joint: SGA) -> None:
    flags = distrust(trained, outcome(trained, joint, some), images=8, seed=0)
    assert [flag.name for flag in flags if not flag.ok] == []
    assert {flag.name for flag in flags} >= {
        "outputs_fixed", "unit_norm", "not_above_clean", "inside_ball", "inside_edits", "text_attack_acts",
        "gradients_alive", "beats_noise", "more_steps_help", "batch_size_free", "huge_epsilon_breaks",
        "captions_still_true",
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
    attacked = Attacked(pairs=some, clean=wrong, count=len(some), name="image", attack=pgd, seconds=0.0)
    assert "not_above_clean" in fallen(trained, attacked)


@pytest.mark.parametrize(("levels", "inside"), [(8, True), (9, False)])
def test_a_pixel_that_left_the_ball(levels: int, inside: bool, trained: Clip, some: Pairs, pgd: PGD) -> None:
    images = some.images.clone()
    images[3, 1, 5, 7] = images[3, 1, 5, 7].int() + (levels if images[3, 1, 5, 7] < 128 else -levels)
    attacked = Attacked(
        pairs=replace(some, images=images), clean=some, count=len(some), name="image", attack=pgd, seconds=0.0
    )
    assert ("inside_ball" in fallen(trained, attacked)) is not inside


def test_captions_beyond_the_budget_untrue_or_untouched(trained: Clip, some: Pairs, typing: BertAttack) -> None:
    def names(captions: tuple[str, ...]) -> set[str]:
        pairs = replace(some, captions=captions)
        return fallen(
            trained, Attacked(pairs=pairs, clean=some, count=len(some), name="text", attack=typing, seconds=0.0)
        )

    assert names(some.captions) == {"text_attack_acts"}
    three = " ".join("qqqq" if i < 3 else word for i, word in enumerate(some.captions[0].split()))
    assert {"inside_edits", "captions_still_true"} <= names((three, *some.captions[1:]))


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
