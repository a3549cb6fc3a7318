"""A memory that changes no embedding and no attack, is asked once for each caption, and stays within its limit."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import SGA, BertAttack
from immunize.attacks.image.pgd import PGD
from immunize.data.loader import Pairs
from immunize.models import Clip, DualEncoder
from immunize.models.encode import encode_captions
from immunize.models.remembering import Remembering
from immunize.threats import Ball, Edits


@pytest.fixture
def asked(trained: Clip, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The captions of each call of the tokenizer."""
    calls: list[tuple[str, ...]] = []
    tokenizer = trained.tokenizer

    def counted(captions: Sequence[str]) -> Tensor:
        calls.append(tuple(captions))
        return tokenizer(captions)

    monkeypatch.setattr(trained, "tokenizer", counted)
    return calls


def test_a_known_caption_is_not_encoded_again(trained: Clip, asked: list[tuple[str, ...]]) -> None:
    model = Remembering(trained)
    first = encode_captions(model, ["a red ball", "a blue box"])
    again = encode_captions(model, ["a blue box", "a green star", "a red ball", "a green star"])
    assert asked == [("a red ball", "a blue box"), ("a green star",)]
    assert torch.equal(first, again[[2, 0]])
    plain = encode_captions(trained, ["a blue box", "a green star", "a red ball", "a green star"])
    assert torch.allclose(again, plain, atol=1e-6)


def test_a_full_memory_is_emptied_and_too_many_captions_are_not_kept(
    trained: Clip, asked: list[tuple[str, ...]]
) -> None:
    model = Remembering(trained, limit=2)
    plain = encode_captions(trained, ["one", "two", "three"])
    asked.clear()
    for captions in (["one", "two"], ["two", "three"], ["two"], ["one"], ["one", "two", "three"]):
        encode_captions(model, captions)
    assert asked == [("one", "two"), ("two", "three"), ("one",), ("one", "two", "three")]
    assert torch.allclose(encode_captions(model, ["one", "two", "three"]), plain, atol=1e-6)


def test_what_was_encoded_elsewhere_is_kept_where_there_is_room(trained: Clip, asked: list[tuple[str, ...]]) -> None:
    text = encode_captions(trained, ["a red ball", "a blue box", "a green star"])
    asked.clear()
    model = Remembering(trained, limit=2)
    model.keep(["a red ball", "a blue box"], text[:2])
    model.keep(["a blue box", "a green star"], text[1:])  # one too many
    assert torch.equal(encode_captions(model, ["a blue box", "a red ball"]), text[[1, 0]]) and asked == []
    encode_captions(model, ["a green star"])
    assert asked == [("a green star",)]


def test_an_attack_by_gradient_has_the_originals_encoded_once(trained: Clip, held_out: Pairs) -> None:
    model, batch = Remembering(trained), held_out.batch(torch.arange(8))
    attack = BertAttack(threat=Edits(words=1), typos=6, importance="gradient", shortlist=2)
    attack(model, batch, Generator().manual_seed(0))
    honest, seen = trained.encode_text, []
    with patch.object(
        Clip, "encode_text", lambda self, tokens, embedded=None: seen.append(1) or honest(tokens, embedded)
    ):
        found = encode_captions(model, batch.captions)
    assert seen == [] and torch.allclose(found, encode_captions(trained, batch.captions), atol=1e-6)


def test_the_joint_attack_is_the_same_and_encodes_less(
    trained: Clip, held_out: Pairs, asked: list[tuple[str, ...]]
) -> None:
    batch = held_out.batch(torch.arange(8))
    attack = SGA(text=BertAttack(threat=Edits(words=1), typos=6), image=PGD(threat=Ball("linf", 8 / 255), steps=2))
    outcomes, counts = [], []
    attack(trained, batch, Generator().manual_seed(0))  # which leaves its words behind, for both
    for model in (trained, Remembering(trained)):
        asked.clear()
        outcomes.append(attack(model, batch, Generator().manual_seed(0)))
        counts.append(sum(map(len, asked)))
    assert outcomes[0].captions == outcomes[1].captions != batch.captions
    assert torch.equal(outcomes[0].images, outcomes[1].images)
    assert counts[1] < 0.9 * counts[0]  # the second text step meets the masked captions and most edits again


def test_it_is_a_dual_encoder_like_the_model_it_holds(trained: Clip, held_out: Pairs) -> None:
    model, images = Remembering(trained), held_out.images[:2] / 255
    assert isinstance(model, DualEncoder)
    assert torch.equal(model.encode_image(images), trained.encode_image(images))
    tokens = model.tokenize(["a red ball"])
    assert torch.equal(model.encode_text(tokens, model.embed_tokens(tokens)), trained.encode_text(tokens))
    assert model.logit_scale == trained.logit_scale
    assert (model.device, model.resolution) == (trained.device, trained.resolution)
