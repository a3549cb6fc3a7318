"""Proposals come from the word's own position (attacks.md 5.17), whole words only, whatever the block."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from immunize.models import language
from immunize.models.language import MaskedLanguage

CAPTIONS = ["red green blue", "green blue dog cat", "unheardof red"]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> MaskedLanguage:
    """A model that finds at each piece the same piece the likeliest, then the next ones in the vocabulary."""
    torch.manual_seed(0)
    made = language.fresh(CAPTIONS, vocabulary=100, width=32, layers=1, length=12)

    def likes_what_follows(input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
        size = len(made.vocabulary)
        return SimpleNamespace(logits=-((torch.arange(size) - input_ids[..., None]) % size).float())

    monkeypatch.setattr(made.model, "forward", likes_what_follows)
    return made


def following(model: MaskedLanguage, word: str, count: int) -> tuple[str, ...]:
    """The next whole words after `word` in the vocabulary."""
    at = model.vocabulary.index(word)
    circle = [*model.vocabulary[at + 1 :], *model.vocabulary[:at]]
    return tuple(other for other in circle if other.isalpha())[:count]


def test_each_word_gets_the_proposals_of_its_own_position(probe: MaskedLanguage) -> None:
    """Ports of BERT-Attack take those of the word before: position 0 is [CLS]."""
    found = probe.substitutes(CAPTIONS[:2], 3)
    for caption, proposals in zip(CAPTIONS, found):
        assert proposals == tuple(following(probe, word, 3) for word in caption.split())


def test_legacy_each_word_gets_the_proposals_of_the_piece_before_it(probe: MaskedLanguage) -> None:
    """The published copies' [CLS] off-by-one, on request: "dog" gets what was predicted at "blue" (attacks.md 5.17)."""
    (found,) = probe.substitutes(["green blue dog cat"], 3, legacy_offset=True)
    before = ("[CLS]", "green", "blue", "dog")
    for word, previous, proposals in zip(("green", "blue", "dog", "cat"), before, found, strict=True):
        expected = following(probe, previous, 4) if previous == "[CLS]" else (previous, *following(probe, previous, 3))
        assert proposals == tuple(other for other in expected if other != word)[:3]
    assert probe.substitutes(["green blue dog cat"], 3) != [found]  # and the two do not share a memory


def test_whole_words_are_the_vocabulary_without_pieces(probe: MaskedLanguage) -> None:
    assert {"red", "dog"} <= set(probe.whole_words)
    assert all(word.isalpha() for word in probe.whole_words)


def test_a_word_of_several_pieces_takes_its_first_and_those_behind_are_not_moved(probe: MaskedLanguage) -> None:
    pieces = probe.tokenizer.tokenize("catdog")
    assert len(pieces) > 1 and pieces[0] == "cat"
    (found,) = probe.substitutes(["catdog red"], 2)
    assert found == (("cat", *following(probe, "cat", 1)), following(probe, "red", 2))


def test_a_word_beyond_the_models_length_has_none(probe: MaskedLanguage) -> None:
    (found,) = probe.substitutes(["red " * 20], 2)
    assert [len(proposals) for proposals in found] == [2] * 10 + [0] * 10


def test_a_caption_is_looked_at_once_and_the_block_changes_nothing(
    probe: MaskedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = probe.substitutes(CAPTIONS, 2)
    monkeypatch.setattr(probe.model, "forward", None)  # would raise
    assert probe.substitutes([CAPTIONS[1], CAPTIONS[0], CAPTIONS[1]], 2) == [whole[1], whole[0], whole[1]]


def test_a_trained_model_survives_the_disk(language_folder: str, tmp_path: Path) -> None:
    model = language.load(language_folder)
    model.save(tmp_path)
    again = language.load(str(tmp_path))
    captions = ["a red ball at the top left", "two shapes on a plain ground , a tiny cross"]
    found = model.substitutes(captions, 5, block=1)
    assert again.substitutes(captions, 5) == found and again.vocabulary == model.vocabulary
    for caption, proposals in zip(captions, found, strict=True):
        for word, words in zip(caption.split(), proposals, strict=True):
            assert word not in words and len(words) == 5 and all(other.isalpha() for other in words)


def test_sentences_are_unit_vectors_free_of_their_padding(language_folder: str) -> None:
    model = language.load(language_folder)
    captions = ["a red ball", "two shapes on a plain ground , a tiny cross and a jade star", "a blue ball"]
    vectors = model.embed(captions)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(vectors, torch.cat([model.embed([caption]) for caption in captions]), atol=1e-5)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]


def test_every_common_word_is_one_piece_and_letters_remain(language_folder: str) -> None:
    model = language.load(language_folder)
    assert {"red", "ground", "ball"} <= set(model.vocabulary)
    assert model.tokenizer.tokenize("RED qzx") == ["red", "q", "##z", "##x"]
