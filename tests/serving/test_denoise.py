"""Captions are spelled again; where several words are as near, the language model's own logits decide."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from immunize.attacks.text import BertAttack
from immunize.batch import Batch
from immunize.models import Clip, language
from immunize.models.encode import encode_captions, encode_images
from immunize.models.language import MaskedLanguage
from immunize.serving import Denoise
from immunize.serving.denoise import Cleaner, Doubt, voted
from immunize.serving.spelling import Spelling
from immunize.threats import Edits

WORDS = ("a", "the", "red", "ring", "bar", "bare", "ball", "small", "on", "ground", "plain", "bed", "top")


def test_captions_by_hand() -> None:
    clean = Cleaner(Spelling(WORDS))
    assert clean(["a rde rnig", "A  red ring", "a smal (blal), on", "a zebra ring 12 ."]) == [
        "a red ring", "A  red ring", "a small (ball), on", "a zebra ring 12 .",
    ]  # fmt: skip
    assert clean([]) == [] and clean(["", " "]) == ["", " "]


def test_the_commonest_where_nobody_votes() -> None:
    clean = Cleaner(Spelling(WORDS))
    assert clean(["a rd ring", "a bed ring"]) == ["a red ring", "a bed ring"]
    assert clean.doubts("the zebra abll eb") == (Doubt(2, ("ball",)),)


def test_the_vote_is_that_of_the_masked_model(language_folder: str) -> None:
    """One caption at a time, the logits at the mask looked up by hand."""
    voter = language.load(language_folder)
    captions = ["a small rde bar", "there is a bal at the top left beside a red rin", "a ble ring"]
    doubts = [
        [Doubt(2, ("red", "green"))],
        [Doubt(3, ("ball", "bar", "box")), Doubt(11, ("ring", "ring"))],
        [Doubt(1, ("blue", "bare", "black", "purple"))],
    ]
    found = voted(voter, captions, doubts)
    for caption, mine, words in zip(captions, doubts, found, strict=True):
        sentence = caption.split()
        for doubt in mine:
            sentence[doubt.position] = "[MASK]"
        encoded = voter.tokenizer(" ".join(sentence), return_tensors="pt").to(voter.model.device)
        with torch.no_grad():
            logits = voter.model(**encoded).logits[0]
        places = (encoded["input_ids"][0] == voter.tokenizer.mask_token_id).nonzero().flatten().tolist()
        for at, doubt, word in zip(places, mine, words, strict=True):
            first = [voter.tokenizer.tokenize(candidate)[0] for candidate in doubt.candidates]
            scores = [float(logits[at, voter.tokenizer.convert_tokens_to_ids(piece)]) for piece in first]
            assert word == doubt.candidates[scores.index(max(scores))]


def test_a_word_that_the_model_does_not_see_is_the_commonest(language_folder: str) -> None:
    long = " ".join(["ring"] * 200 + ["rde"])
    assert voted(language.load(language_folder), [long], [[Doubt(200, ("bed", "red"))]]) == [["bed"]]


class Noting(Spelling):
    """Which words were looked up."""

    def __init__(self, words: Sequence[str]) -> None:
        Spelling.__init__(self, words)
        self.asked: list[str] = []

    def candidates(self, word: str) -> tuple[str, ...]:
        self.asked.append(word)
        return Spelling.candidates(self, word)


def test_a_caption_is_looked_at_once_and_the_memory_has_an_end() -> None:
    spelling = Noting(WORDS)
    clean = Cleaner(spelling, limit=2)
    clean(["a rde ring"] * 3), clean(["a rde ring", "a rign"])
    assert spelling.asked == ["rde", "rign"]
    assert clean(["smal", "a rde ring", "blal"]) == ["small", "a red ring", "ball"]
    assert spelling.asked == ["rde", "rign", "smal", "rde", "blal"] and len(clean._known) == 3


def test_the_model_reads_what_was_meant(trained: Clip, places: tuple[str, str, str]) -> None:
    model = Denoise(places[0], places[1]).around(trained)
    meant = encode_captions(trained, ["a red ring at the center"])
    assert torch.equal(encode_captions(model, ["a rde rign at teh centre"]), meant)


def test_typos_lose_what_they_won(trained: Clip, batch: Batch, places: tuple[str, str, str]) -> None:
    """Found on the undefended model, then read by the defended one: at least the cosine that was lost in part is back."""
    attack = BertAttack(Edits(words=2), candidates=0, typos=40)
    found = attack(trained, batch, torch.Generator().manual_seed(0))
    model = Denoise(places[0]).around(trained)

    def cosine(of: Clip, captions: Sequence[str]) -> float:
        image = encode_images(trained, batch.images)[batch.owner]
        return float((image * encode_captions(of, captions)).sum(dim=1).mean())

    clean, attacked = cosine(trained, batch.captions), cosine(trained, found.captions)
    assert clean - attacked > 0.05
    assert cosine(model, found.captions) == pytest.approx(clean, abs=0.2 * (clean - attacked))


def test_an_attack_on_text_meets_the_model_that_is_served(
    trained: Clip, batch: Batch, places: tuple[str, str, str]
) -> None:
    """What it says that its captions are worth is what they are worth: neighbors are voted on with their neighbors."""
    model = Denoise(places[0], places[1]).around(trained)
    attack = BertAttack(Edits(words=2), places[1], candidates=10, typos=40)
    found = attack(model, batch, torch.Generator().manual_seed(0))
    assert found.outcome is not None and found.captions != batch.captions
    image, text = encode_images(model, batch.images), encode_captions(model, found.captions)
    value = torch.zeros(len(batch)).index_add(0, batch.owner, -(image[batch.owner] * text).sum(dim=1))
    assert torch.allclose(found.outcome.value, value, atol=1e-5)


def test_no_vocabulary_is_a_clear_error(trained: Clip) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Denoise("nowhere/words.txt").around(trained)


def test_the_voter_is_loaded_where_it_is_asked_for(places: tuple[str, str, str]) -> None:
    assert Denoise(places[0]).cleaner().voter is None
    assert isinstance(Denoise(places[0], places[1]).cleaner().voter, MaskedLanguage)
