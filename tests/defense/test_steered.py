"""Training steered by a bandit: its reward against a loop, one arm against plain training, and what an interruption changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from immunize.attacks import PGD, BertAttack
from immunize.config import dump, parse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, train
from immunize.defense.curriculum import Choice, Constant, Even, Exp3, Hardest, Ucb
from immunize.defense.sampling import generator
from immunize.defense.steered import Steered, Steering
from immunize.defense.terms import Consistency, Contrast
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.models.initial import Small
from immunize.threats import Ball, Edits

IMAGE, TEXT = PGD(Ball("linf", 8 / 255), steps=1), BertAttack(Edits(words=1), typos=2, importance="gradient")
ATTACKS = {"image": IMAGE, "text": TEXT}
METHOD = Method(
    (Consistency(image="attacked", weight=0.1), Contrast(image="attacked", text="attacked"), Contrast(weight=0.5)),
    inner=IMAGE,
)
TRAINING = Training(steps=8, batch=16, lr=2e-3, warmup=1, log=1, checkpoint=3)


def steered(held_out: Pairs, choice: Choice, weights: tuple[float, ...] = (1.0,), every: int = 2) -> Steered:
    return Steered(Steering(ATTACKS, weights, choice, every, images=12, alpha=0.3), METHOD, held_out, seed=1)


def test_the_reward_against_a_loop(trained: Clip, held_out: Pairs) -> None:
    """R = -||f(x') - g(t)||^2 - alpha InfoNCE(x', t'), pair by pair, both directions of InfoNCE."""
    course = steered(held_out, Constant(0))
    course.at(0, trained, [])
    batch, scale = course.batch, float(trained.logit_scale.detach())
    expected = []
    for attack in (None, IMAGE, TEXT):
        made = batch if attack is None else attack(trained, batch, generator(1, 6))
        image, said = encode_images(trained, made.images), encode_captions(trained, made.captions)
        true, n = encode_captions(trained, batch.captions), len(batch)
        far = sum(float((image[i] - true[i]).square().sum()) for i in range(n)) / n
        logits = scale * image @ said.T
        # one positive each way, since no caption here stands for two images
        both = sum(float(-(logits[i].log_softmax(0)[i] + logits[:, i].log_softmax(0)[i])) / 2 for i in range(n)) / n
        expected.append(-far - 0.3 * both)
    assert len(set(batch.captions)) == len(batch)
    assert course.reached.tolist() == pytest.approx(expected, abs=2e-4)
    assert course.told() == {"arm": 0, "gain": 0.0, "reward": pytest.approx(np.mean(expected), abs=2e-4)}


def test_lambda_weighs_what_was_attacked_and_not_consistency(held_out: Pairs) -> None:
    course = steered(held_out, Even(), weights=(0.5, 2.0))
    assert [m.inner for m in course.methods] == [IMAGE, IMAGE, TEXT, TEXT]
    weights = [[term.weight for term in m.outer] for m in course.methods]
    assert weights == [[0.1, 0.5, 0.5], [0.1, 2.0, 0.5]] * 2
    assert all(m.trains == METHOD.trains for m in course.methods)


@pytest.mark.parametrize("arm", [0, 1])
def test_one_arm_is_plain_training(small: Small, pairs: Pairs, held_out: Pairs, arm: int, tmp_path: Path) -> None:
    """To the last bit: looking at held-out pairs leaves no trace in what is learnt."""
    one, plain = (small.make(pairs.captions, 0) for _ in range(2))
    list(train(one, pairs, steered(held_out, Constant(arm)), TRAINING, tmp_path / "steered"))
    method = replace(METHOD, inner=[IMAGE, TEXT][arm])
    list(train(plain, pairs, method, TRAINING, tmp_path / "plain"))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, one.state_dict()[name]), name


@pytest.mark.parametrize("choice", [Ucb(), Exp3(), Hardest()])
@pytest.mark.parametrize("every", [2, 4])
def test_an_interrupted_course_goes_on(
    small: Small, pairs: Pairs, held_out: Pairs, choice: Choice, every: int, tmp_path: Path
) -> None:
    """Stopped after step 7, it goes on from step 6, in the middle of a stretch or at its end."""
    whole, first, again = (small.make(pairs.captions, 0) for _ in range(3))
    course = steered(held_out, choice, every=every)
    records = list(train(whole, pairs, course, TRAINING, tmp_path / "whole"))
    list(islice(train(first, pairs, steered(held_out, choice, every=every), TRAINING, tmp_path / "parts"), 7))
    later = steered(held_out, choice, every=every)
    assert list(train(again, pairs, later, TRAINING, tmp_path / "parts")) == records
    assert later.curriculum.log == course.curriculum.log and len(course.curriculum.log) == 8 // every
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    assert [record["arm"] for record in records] == [arm for _, arm, *_ in course.curriculum.log for _ in range(every)]


def test_the_hardest_is_where_the_reward_is_least(trained: Clip, held_out: Pairs) -> None:
    course = steered(held_out, Hardest(), weights=(0.5, 1.0))
    method = course.at(0, trained, [])
    assert method.inner == [IMAGE, TEXT][int(course.reached[1:].argmin())]
    assert course.reached[1:].max() < course.reached[0]  # attacked is worse than clean


def test_it_is_a_configuration_and_says_what_it_is(held_out: Pairs) -> None:
    steering = Steering(ATTACKS, (0.5, 1.0), Exp3(), 10, 12, 0.3)
    assert parse(dump(steering), Steering, "here") == steering
    one, other = (Steered(s, METHOD, held_out, 1).said for s in (steering, replace(steering, alpha=0.4)))
    assert one != other and one == Steered(steering, METHOD, held_out, 1).said
