"""Word by word the same ids as whole: byte pairs, CLIP's own, and a fallback where words are not split one by one."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any
from weakref import ref

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from immunize.models import Clip
from immunize.models.remembering import Remembering
from immunize.models.words import WordTokens, words_of
from immunize.models.wrapped import Wrapped

CAPTIONS = ("a red ball", "Two SHAPES , a blue box", "", "  a  zqxj  ")
LONG = "a red ball beside a blue box " * 20
SENTENCES = st.lists(st.text(ascii_lowercase + "',.!é", min_size=1, max_size=8), max_size=60).map(" ".join)


class Speaks:
    """A tokenizer that notes what it is asked, cut to the longest as a model does it."""

    def __init__(self, tokenize: Any) -> None:
        self.tokenizer = tokenize
        self.calls: list[Sequence[str]] = []

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        self.calls.append(captions)
        tokens = self.tokenizer(list(captions))
        return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


@pytest.mark.parametrize("captions", [CAPTIONS, (LONG, "a ball"), ("a ball",)])
def test_the_same_ids_as_the_whole_caption(trained: Clip, captions: tuple[str, ...]) -> None:
    read = WordTokens(trained.tokenize, captions)
    for texts in (captions, CAPTIONS, (LONG,), ("unheard of words", LONG)):
        assert torch.equal(read(texts), trained.tokenize(texts))
    assert read.by_word


@given(st.lists(SENTENCES, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_at_all(trained: Clip, captions: list[str]) -> None:
    read = WordTokens(trained.tokenize, ("a red ball",))
    assert torch.equal(read(captions), trained.tokenize(captions))


def test_clips_own_tokenizer() -> None:
    model = Speaks(open_clip.SimpleTokenizer(context_length=20))
    captions = ["A dog 's ball , it isn't red !", "two dogs", LONG, "naïve café; 1234"]
    read = WordTokens(model.tokenize, captions)
    assert read.by_word and torch.equal(read(captions[::-1]), model.tokenize(captions[::-1]))


def test_a_word_is_tokenized_once() -> None:
    model = Speaks(open_clip.SimpleTokenizer())
    read = WordTokens(model.tokenize, ["a red ball", "a blue ball ball"])
    model.calls.clear()
    read(["a blue ball", "a green ball ball"])
    assert model.calls == [["green"]]


def test_what_one_batch_has_read_the_next_one_knows() -> None:
    model = Speaks(open_clip.SimpleTokenizer())
    WordTokens(model.tokenize, ["a red ball"])
    model.calls.clear()
    read = WordTokens(model.tokenize, ["a red box"])
    assert model.calls == [["a red box"], ["box"]]
    assert torch.equal(read(["a ball"]), model.tokenize(["a ball"]))


def test_words_are_forgotten_with_their_model_and_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("immunize.models.words.REMEMBERED", 2)
    model = Speaks(open_clip.SimpleTokenizer())
    read = WordTokens(model.tokenize, ["a red ball"])
    first = ref(read._words)
    assert words_of(model.tokenize).number == {} and torch.equal(read(["a box"]), model.tokenize(["a box"]))
    del read
    gc.collect()
    assert first() is None
    second = ref(words_of(model.tokenize))
    del model
    gc.collect()
    assert second() is None


def test_the_speaker_is_the_model_whose_tokenizer_it_is(trained: Clip) -> None:
    """So what was learnt of words under one model is not asked after under another."""

    class Shouting(Wrapped):
        def tokenize(self, captions: Sequence[str]) -> Tensor:
            return self.model.tokenize([f"{caption} !" for caption in captions])

    inner = Shouting(Remembering(trained))
    outer = Wrapped(Remembering(inner))
    assert outer.speaker is inner and Remembering(trained).speaker is trained
    outer.model = Remembering(trained)
    assert outer.speaker is trained


def test_a_model_that_cannot_be_remembered_is_no_reason_to_fail() -> None:
    @dataclass
    class Unhashable:
        def tokenize(self, captions: Sequence[str]) -> Tensor:
            return model.tokenize(captions)

    model = Speaks(open_clip.SimpleTokenizer())
    read = WordTokens(Unhashable().tokenize, ["a red ball"])
    assert torch.equal(read(["a ball"]), model.tokenize(["a ball"]))


def test_a_tokenizer_of_whole_captions_is_left_alone() -> None:
    """One that numbers a word by its place, as no byte-pair tokenizer does."""

    def by_place(captions: list[str]) -> Tensor:
        rows = [[1, *(2 + i for i, _ in enumerate(caption.split())), 99] for caption in captions]
        return torch.tensor([row + [0] * (9 - len(row)) for row in rows])

    model = Speaks(by_place)
    read = WordTokens(model.tokenize, ["a red ball"])
    assert not read.by_word and torch.equal(read(["a big red ball"]), model.tokenize(["a big red ball"]))


def test_no_captions_are_no_reason_to_fail(trained: Clip) -> None:
    assert WordTokens(trained.tokenize, ()).by_word is False


def test_words_are_not_read_alone_where_the_words_around_decide(trained: Clip) -> None:
    read = WordTokens(trained.tokenize, CAPTIONS, alone=False)
    assert not read.by_word and torch.equal(read(CAPTIONS), trained.tokenize(CAPTIONS))
