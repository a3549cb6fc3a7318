"""LEAF: single letters, the place before the letter, two encodings a round; exhaustive search bounds it."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_lowercase

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.text import LEAF, draft
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Edits
from immunize.threats.constraints import levenshtein


def value(model: Clip, batch: Batch, caption: int, texts: list[str]) -> Tensor:
    return -(encode_captions(model, texts) @ encode_images(model, batch.images)[batch.owner[caption]])


def neighbors(word: str) -> set[str]:
    """Every non-empty word at Levenshtein distance 1, by the definition."""
    replaced = {word[:i] + letter + word[i + 1 :] for i in range(len(word)) for letter in (*ascii_lowercase, "")}
    inserted = {word[:i] + letter + word[i:] for i in range(len(word) + 1) for letter in ascii_lowercase}
    return (replaced | inserted) - {word, ""}


@pytest.mark.parametrize("known", [True, False])
def test_with_all_places_it_is_exhaustive_search(trained: Clip, batch: Batch, known: bool) -> None:
    some = batch.take(torch.tensor([0]))
    captions = tuple(" ".join(caption.split()[:8]) for caption in some.captions)
    some = replace(some, captions=captions, truth=some.truth if known else ())
    threat = Edits(characters=1)
    one, all_ = (LEAF(threat, places=places)(trained, some, Generator()).captions for places in (1, 999))
    for c, caption in enumerate(some.captions):
        words, truth = caption.split(), some.truth[0] if known else None
        texts = [caption] + [
            " ".join((*words[:i], new, *words[i + 1 :]))
            for i, word in enumerate(words)
            if threat.editable(word, known)
            for new in neighbors(word)
            if threat.allows(word, new, truth)
        ]
        best, found = value(trained, some, c, texts).max(), value(trained, some, c, [one[c], all_[c]])
        assert found[1].item() == pytest.approx(best.item(), abs=1e-5) and found[0] <= best + 1e-5
        assert one[c] in texts and all_[c] in texts


@pytest.mark.parametrize(("words", "characters"), [(1, 1), (1, 3), (2, 3), (3, None)])
def test_letters_and_words_stay_within_their_bounds(
    trained: Clip, batch: Batch, words: int, characters: int | None
) -> None:
    threat = Edits(words=words, characters=characters, same_meaning=False)
    after = LEAF(threat, rho=10)(trained, batch, Generator())
    for old, new in zip(batch.captions, after.captions, strict=True):
        changed = [(a, b) for a, b in zip(old.split(), new.split(), strict=True) if a != b]
        assert len(changed) <= words
        assert sum(levenshtein(a, b) for a, b in changed) <= (words if characters is None else characters)
    assert after.captions != batch.captions


def test_two_encodings_an_edit_for_all_captions_together(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published evaluation loops sentence by sentence (methods.md 4.7)."""
    calls: list[int] = []

    def counted(model: Clip, captions: list[str], **more: object) -> Tensor:
        calls.append(len(captions))
        return encode_captions(model, captions)

    monkeypatch.setattr(draft, "encode_captions", counted)
    LEAF(Edits(characters=2, words=2), rho=7)(trained, batch, Generator())
    captions = len(batch.captions)
    edits, originals = [count for count in calls if count != captions], calls.count(captions)
    assert originals == 1 and len(edits) == 2 * 2
    assert edits[0] == edits[2] == 7 * captions and 0 < edits[1] <= 7 * captions


def test_the_place_is_that_where_the_test_character_hurts_most(trained: Clip, batch: Batch) -> None:
    some = replace(batch.take(torch.tensor([2])), truth=())
    after = LEAF(Edits(characters=1), test="z")(trained, some, Generator()).captions
    for c, (old, new) in enumerate(zip(some.captions, after, strict=True)):
        if old == new:
            continue
        words = old.split()
        tested: dict[tuple[int, int, int], str] = {}
        for i, word in enumerate(words):
            if Edits().editable(word, known=False):
                for start in range(len(word) + 1):
                    for stop in (start, start + 1)[: 1 + (start < len(word))]:
                        spelled = word[:start] + "z" + word[stop:]
                        tested[i, start, stop] = " ".join((*words[:i], spelled, *words[i + 1 :]))
        scores = value(trained, some, c, list(tested.values()))
        position, start, stop = list(tested)[int(scores.argmax())]
        word, edited = words[position], new.split()[position]
        assert edited.startswith(word[:start]) and edited.endswith(word[stop:])


def test_random_places_follow_the_caption(trained: Clip, batch: Batch) -> None:
    attack = LEAF(Edits(characters=1, same_meaning=False), rho=3)
    whole = attack(trained, batch, Generator().manual_seed(1)).captions
    part = attack(trained, batch.take(torch.tensor([4, 5])), Generator().manual_seed(1)).captions
    assert part == whole[-len(part) :]
    assert whole != attack(trained, batch, Generator().manual_seed(2)).captions
