"""BERT-Attack: the edit is the best of all that are allowed, at the right word, and never one that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import BertAttack
from immunize.attacks.text.draft import Draft
from immunize.attacks.text.first_order import leading
from immunize.attacks.text.greedy import suggestions
from immunize.attacks.text.importance import by_gradient, by_masking, ranked
from immunize.attacks.text.typos import typos
from immunize.batch import Batch
from immunize.data.scenes.truth import is_true
from immunize.models import Clip, language
from immunize.models.encode import encode_captions, encode_images
from immunize.rng import draw_seed, keys
from immunize.threats import Edits


class Proposer:
    """Proposals that name their position; sentences that are the nearer the fewer letters they differ by."""

    def substitutes(self, captions: Sequence[str], k: int, legacy_offset: bool = False) -> list[Any]:
        return [
            tuple(tuple(f"place{i}{letter}" for letter in "abcdef"[:k]) for i, _ in enumerate(caption.split()))
            for caption in captions
        ]

    def embed(self, captions: Sequence[str]) -> Tensor:
        angle = torch.tensor([0.3 if "a " in caption + " " or caption.endswith("a") else 0.0 for caption in captions])
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.fixture
def proposer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "load", lambda folder, cache=None: Proposer())


def attacked(attack: BertAttack, model: Clip, batch: Batch) -> tuple[str, ...]:
    return attack(model, batch, Generator()).captions


def values(model: Clip, batch: Batch, caption: int, texts: Sequence[str]) -> Tensor:
    return -(encode_captions(model, texts) @ encode_images(model, batch.images)[batch.owner[caption]])


@pytest.fixture
def unknown(batch: Batch) -> Batch:
    """The batch without its scenes: nothing is known to be untrue."""
    return replace(batch, truth=())


@pytest.mark.parametrize("words", [1, 2, 3])
def test_a_candidate_comes_from_its_own_position(proposer: None, trained: Clip, unknown: Batch, words: int) -> None:
    """The [CLS] off-by-one of the ports puts what was proposed for one word at the next (attacks.md 5.17)."""
    attack = BertAttack(Edits(words=words), "fake", candidates=3, positions=2)
    count = 0
    for old, new in zip(unknown.captions, attacked(attack, trained, unknown), strict=True):
        for i, (before, after) in enumerate(zip(old.split(), new.split(), strict=True)):
            if before != after:
                assert after.startswith(f"place{i}") and Edits().editable(before)
                count += 1
    assert len(unknown.captions) <= count <= words * len(unknown.captions)


def allowed_edits(batch: Batch, caption: int, threat: Edits) -> list[str]:
    """Every caption one typo away that the threat allows, by brute force."""
    words = batch.captions[caption].split()
    truth = batch.truth[int(batch.owner[caption])] if batch.truth else None
    return [
        " ".join((*words[:i], typo, *words[i + 1 :]))
        for i, word in enumerate(words)
        for typo in typos(word)
        if threat.editable(word) and threat.allows(word, typo, truth)
    ]


@pytest.mark.parametrize("known", [True, False])
def test_the_best_edit_is_that_of_brute_force(trained: Clip, batch: Batch, unknown: Batch, known: bool) -> None:
    """With all positions open, one word is chosen as by trying everything."""
    some = (batch if known else unknown).take(torch.tensor([0, 1]))
    attack = BertAttack(Edits(words=1), typos=99, positions=100)
    for caption, found in enumerate(attacked(attack, trained, some)):
        edits = allowed_edits(some, caption, attack.threat)
        scores = values(trained, some, caption, [found, some.captions[caption], *edits])
        assert scores[0].item() == pytest.approx(scores[1:].max().item(), abs=1e-6)
        assert found == some.captions[caption] or found in edits


@pytest.mark.parametrize("importance", ["mask", "gradient"])
def test_the_most_important_word_is_the_one_tried(
    proposer: None, trained: Clip, unknown: Batch, importance: Any
) -> None:
    attack = BertAttack(Edits(), "fake", candidates=3, importance=importance)
    with Draft.of(trained, unknown, Edits(), None) as draft:
        pass
    for c, (old, new) in enumerate(zip(draft.words, attacked(attack, trained, unknown))):
        at = [(c, i) for i, word in enumerate(old) if Edits().editable(word, known=False)]
        scores = by_masking(draft, at, "[UNK]") if importance == "mask" else by_gradient(draft, at)
        changed = [i for i, (a, b) in enumerate(zip(old, new.split())) if a != b]
        assert changed in ([], [at[int(scores.argmax())][1]])


def test_more_words_and_more_candidates_are_never_weaker(trained: Clip, batch: Batch) -> None:
    found = {}
    for words, count in ((1, 2), (1, 6), (2, 6), (3, 6)):
        after = attacked(BertAttack(Edits(words=words), typos=count, positions=100), trained, batch)
        found[words, count] = torch.cat([values(trained, batch, c, [text]) for c, text in enumerate(after)])
    pairs = [((1, 2), (1, 6)), ((1, 6), (2, 6)), ((2, 6), (3, 6))]
    assert all((found[more] >= found[less] - 1e-6).all() for less, more in pairs)
    assert (found[2, 6] > found[1, 6] + 1e-4).any()


def test_no_word_is_edited_twice_and_no_stop_word_ever(proposer: None, trained: Clip, unknown: Batch) -> None:
    """With a larger budget than there are words; a rejected candidate leaves nothing behind (attacks.md 5.17)."""
    attack = BertAttack(Edits(words=12), "fake", candidates=2, positions=50)
    for old, new in zip(unknown.captions, attacked(attack, trained, unknown), strict=True):
        for i, (before, after) in enumerate(zip(old.split(), new.split(), strict=True)):
            assert after in (before, f"place{i}a", f"place{i}b")
            assert after == before or Edits().editable(before)


def test_untrue_edits_are_refused_where_the_scene_is_known(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every proposal is a word that makes most captions false; what comes out is true all the same."""

    class Liar(Proposer):
        def substitutes(self, captions: Sequence[str], k: int, legacy_offset: bool = False) -> list[Any]:
            lies = ("red", "blue", "square", "ring", "large", "small", "top", "left", "striped", "three")
            return [tuple(lies for _ in caption.split()) for caption in captions]

    monkeypatch.setattr(language, "load", lambda folder, cache=None: Liar())
    attack = BertAttack(Edits(words=2), "fake", positions=100)
    after = attacked(attack, trained, batch)
    assert all(is_true(text, batch.truth[o] or "") for text, o in zip(after, batch.owner.tolist(), strict=True))
    lying = attacked(replace(attack, threat=Edits(words=2, same_meaning=False)), trained, batch)
    assert not all(is_true(text, batch.truth[o] or "") for text, o in zip(lying, batch.owner.tolist(), strict=True))


def test_sentences_that_differ_too_much_are_refused(proposer: None, trained: Clip, unknown: Batch) -> None:
    """The fake embedding turns by 0.3 where a word ends in `a`: cosine 0.955."""
    plain = replace(unknown, captions=tuple("green dogs run" for _ in unknown.captions))
    attack = BertAttack(Edits(similarity=0.9), "fake", candidates=1, positions=3)
    assert attacked(attack, trained, plain) != plain.captions
    assert attacked(replace(attack, threat=Edits(similarity=0.99)), trained, plain) == plain.captions


def test_a_caption_that_cannot_be_edited_stays_as_it_is(proposer: None, trained: Clip, unknown: Batch) -> None:
    odd = ("of the and", "", "  a   the ", "42 , --", *unknown.captions[4:])
    after = attacked(BertAttack(Edits(words=2), "fake", candidates=2), trained, replace(unknown, captions=odd))
    assert after[:4] == odd[:4] and after[4:] != odd[4:]


def test_without_a_language_model_and_typos_nothing_happens(trained: Clip, batch: Batch) -> None:
    assert attacked(BertAttack(Edits(words=3)), trained, batch) == batch.captions


class Pieces(Proposer):
    """Proposals that name the word they were predicted at: with the legacy offset that before."""

    def substitutes(self, captions: Sequence[str], k: int, legacy_offset: bool = False) -> list[Any]:
        return [tuple((f"at{i - legacy_offset}",) for i, _ in enumerate(caption.split())) for caption in captions]


@pytest.mark.parametrize("legacy", [False, True])
def test_the_legacy_offset_shifts_every_candidate(
    trained: Clip, unknown: Batch, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    """Published success rates come from the candidates of the word before; ours do not by default (attacks.md 5.17)."""
    monkeypatch.setattr(language, "load", lambda folder, cache=None: Pieces())
    attack = BertAttack(Edits(words=9), "fake", positions=99, legacy_offset=legacy)
    moved = 0
    for old, new in zip(unknown.captions, attacked(attack, trained, unknown), strict=True):
        for i, (before, after) in enumerate(zip(old.split(), new.split(), strict=True)):
            moved += before != after
            assert after in (before, f"at{i - legacy}")
    assert moved and not BertAttack(Edits()).legacy_offset


def test_a_share_of_the_words_is_each_captions_own_budget(proposer: None, trained: Clip, unknown: Batch) -> None:
    """At most 40 % of the words, but one at least (BERT-Attack's own budget)."""
    short = replace(unknown, captions=("red ball", *unknown.captions[1:]))
    after = attacked(BertAttack(Edits(words=99, share=0.4), "fake", positions=99), trained, short)
    counts = [
        (sum(a != b for a, b in zip(old.split(), new.split())), len(old.split()))
        for old, new in zip(short.captions, after, strict=True)
    ]
    assert all(changed <= max(1, int(0.4 * length)) for changed, length in counts)
    assert max(changed for changed, _ in counts) > 1


def test_proposals_are_kept_in_a_file(trained: Clip, unknown: Batch, language_folder: str, tmp_path: Path) -> None:
    cached = BertAttack(Edits(), language_folder, candidates=4, cache=str(tmp_path / "proposals"))
    plain = replace(cached, cache=None)
    assert attacked(cached, trained, unknown) == attacked(plain, trained, unknown)
    assert (tmp_path / "proposals").exists()


def test_a_shortlist_takes_the_best_of_the_words_that_promise_most(trained: Clip, batch: Batch) -> None:
    """By a loop: prices at the original, then the greedy choice among so many; a long list changes nothing."""
    threat, rng = Edits(words=1, same_meaning=False), Generator
    short = BertAttack(threat, typos=12, shortlist=3, importance="gradient")(trained, batch, rng())
    whole = BertAttack(threat, typos=12, importance="gradient")(trained, batch, rng())
    long = BertAttack(threat, typos=12, shortlist=99, importance="gradient")(trained, batch, rng())
    assert long.captions == whole.captions
    assert short.outcome is not None and whole.outcome is not None
    assert (short.outcome.value <= whole.outcome.value + 1e-5).all()
    captions = len(batch.captions)
    assert short.outcome.texts.sum() == captions + 3 * captions < whole.outcome.texts.sum()
    with Draft.of(trained, batch, threat, None) as draft:
        order = ranked(draft, draft.rules.open(), None)
        start = (keys(batch.caption_ids) ^ draw_seed(rng())).tolist()
        options = suggestions(draft, None, None, 0, 12, start)
        for caption in range(captions):
            place = next(place for place in order if place[0] == caption)
            words = draft.rules.kept(place, options(place))
            best = leading(draft, {place: words}, 3)
            texts = [batch.captions[caption], *(" ".join(draft.after(edit).words) for edit in best)]
            assert short.captions[caption] == texts[int(values(trained, batch, caption, texts).argmax())]
