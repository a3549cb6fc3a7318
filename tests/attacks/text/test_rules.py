"""Refusals counted by hand, image by image and constraint by constraint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from immunize.attacks.text.rules import Edit, Rewrite, Rules
from immunize.batch import Batch
from immunize.threats import Edits

CAPTIONS = ("two dogs run", "two cats run", "a dog runs home")


@pytest.fixture
def plain() -> Batch:
    """Two images nobody knows the scene of, the first with two captions."""
    return Batch(
        images=torch.zeros(2, 3, 4, 4),
        captions=CAPTIONS,
        owner=torch.tensor([0, 0, 1]),
        image_ids=("x", "y"),
        caption_ids=("x0", "x1", "y0"),
    )


def test_single_words_are_counted_under_the_first_constraint_they_break(plain: Batch) -> None:
    rules = Rules(Edits(part_of_speech=True), plain)
    asked = [(0, 1, "the"), (0, 1, "seven"), (0, 1, "bird"), (0, 1, "birds"), (2, 1, "of"), (2, 2, "ran"), (2, 3, "in")]
    kept = rules.edits(Edit(*one) for one in asked)
    assert kept == [Edit(0, 1, "birds")]
    assert rules.rejected == {"stop_words": [1, 2], "keep_numbers": [1, 0], "part_of_speech": [1, 1]}


def test_an_edit_that_is_asked_about_again_is_counted_once(plain: Batch) -> None:
    rules = Rules(Edits(characters=1), plain)
    for _ in range(3):
        assert rules.edits([Edit(0, 1, "the"), Edit(0, 1, "the")]) == []
        assert rules.rewrites([Rewrite(2, ("a", "cat", "runs", "home"))]) == []
    assert rules.rejected == {"stop_words": [1, 0], "characters": [0, 1]}


def test_another_caption_of_the_same_image_is_no_edit(plain: Batch) -> None:
    """It is as true as the caption itself; that of another image may well be an edit."""
    words = ("two", "cats", "run")
    rules = Rules(Edits(), plain)
    assert rules.rewrites([Rewrite(0, words)]) == [] and rules.rejected == {"distinct": [1, 0]}
    free = Rules(Edits(distinct=False), plain)
    assert free.rewrites([Rewrite(0, words)]) == [Rewrite(0, words)]
    other = replace(plain, owner=torch.tensor([0, 1, 1]))
    assert Rules(Edits(), other).rewrites([Rewrite(0, words)]) == [Rewrite(0, words)]


def test_the_name_of_a_class_may_not_come_in(plain: Batch) -> None:
    """Nothing stops "cat" becoming another class in the published attacks on prompts (methods.md 4.5)."""
    prompts = ("a photo of a dog", "a photo of a bird")
    labeled = replace(plain, gallery=prompts, labels=torch.tensor([0, 1]))
    rules = Rules(Edits(), labeled)
    assert rules.edits([Edit(1, 1, "Bird"), Edit(1, 1, "photo")]) == [Edit(1, 1, "photo")]
    assert rules.rejected == {"distinct": [1, 0]}
    assert Rules(Edits(), replace(plain, gallery=prompts)).edits([Edit(1, 1, "bird")])  # captions are no classes


def test_letters_are_counted_over_the_whole_caption(plain: Batch) -> None:
    rules = Rules(Edits(words=2, characters=2), plain)
    near, far = Rewrite(2, ("a", "dig", "run", "home")), Rewrite(2, ("a", "dug", "ran", "home"))
    assert rules.rewrites([near, far]) == [near] and rules.rejected == {"characters": [0, 1]}


def test_the_budget_is_silent(plain: Batch) -> None:
    """More words than the threat has, or none, are no candidates that a constraint refused."""
    rules = Rules(Edits(words=1), plain)
    assert rules.rewrites([Rewrite(2, ("a", "cat", "sits", "home")), Rewrite(2, ("a", "dog", "runs", "home"))]) == []
    assert rules.rejected == {}


def test_sentences_are_compared_with_the_original(plain: Batch) -> None:
    """A fake embedding turns with the number of letters: cos(0.1 * difference)."""

    def embed(captions: Sequence[str]) -> Tensor:
        angle = torch.tensor([0.1 * len(caption) for caption in captions])
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    near, far = Rewrite(2, ("a", "doggie", "runs", "home")), Rewrite(2, ("a", "alligator", "runs", "home"))
    rules = Rules(Edits(similarity=0.9), plain, embed)
    assert rules.rewrites([near, far]) == [near]  # 0.955 and 0.825
    assert rules.rejected == {"similarity": [0, 1]}


def test_options_at_a_place_by_hand(plain: Batch) -> None:
    """Its own word is no option, a repeated one counts once, and so does a place that is asked about again."""
    rules = Rules(Edits(), plain)
    offered = ["Dogs", "DOGS", "Birds", "the", "the", "never", "seven", "birds"]
    for _ in range(3):
        assert rules.kept((0, 1), offered) == ("Birds", "birds")
    assert rules.rejected == {"stop_words": [1, 0], "keep_numbers": [2, 0]}
    same = Rules(Edits(), plain)
    asked = [Edit(0, 1, word) for word in offered if word.lower() != "dogs"]
    assert [edit.substitute for edit in same.edits(asked)] == ["Birds", "birds"] and same.rejected == rules.rejected
    assert rules.kept((1, 1), ["the"]) == () and rules.rejected["stop_words"] == [2, 0]


def test_choices_are_looked_at_once_a_word_and_counted_at_each_place(plain: Batch) -> None:
    asked: list[str] = []

    def pool(word: str) -> tuple[str, ...]:
        asked.append(word)
        return ("walk", "the", "never", "run")

    rules = Rules(Edits(), plain)
    found = rules.choices(rules.open(), pool)
    assert found[0, 2] == found[1, 2] == ("walk",) and found[2, 1] == ("walk", "run")
    assert sorted(asked) == ["cats", "dog", "dogs", "home", "run", "runs"]
    assert rules.rejected == {"stop_words": [4, 3], "keep_numbers": [4, 3]}


def test_a_class_word_and_a_number_are_not_open(plain: Batch) -> None:
    assert Rules(Edits(), plain).open() == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    assert Rules(Edits(words=0), plain).open() == []
