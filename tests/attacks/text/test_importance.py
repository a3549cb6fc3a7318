"""Importance of words: masking by hand, gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.importance import by_gradient, by_masking, spans
from immunize.attacks.text.rules import Rules
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.models.tokenizer import train
from immunize.threats import Edits

SENTENCES = [("a", "red", "ball"), ("two", "zqxj", ",", "striped", "shapes")]
AT = [(0, 1), (0, 2), (1, 1), (1, 4), (1, 2)]


@pytest.fixture
def image() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)), dim=1)


def drafted(model: Clip, image: Tensor, sentences: list[tuple[str, ...]]) -> Draft:
    """A draft of one caption an image, whose images are embedded already."""
    ids = tuple(map(str, range(len(sentences))))
    captions = tuple(" ".join(words) for words in sentences)
    pixels = torch.zeros(len(ids), 3, 32, 32)
    batch = Batch(images=pixels, captions=captions, owner=torch.arange(len(ids)), image_ids=ids, caption_ids=ids)
    return Draft(model, batch, image, image, Rules(Edits(), batch))


def test_masking_by_hand(trained: Clip, image: Tensor) -> None:
    """Every word counts, the last one included, which the original reference never scores (attacks.md 5.17)."""
    texts = ["a [UNK] ball", "a red [UNK]", "two [UNK] , striped shapes", "two zqxj , striped [UNK]"]
    found = by_masking(drafted(trained, image, SENTENCES), AT[:4], "[UNK]")
    expected = [-(image[c] @ encode_captions(trained, [text])[0]).item() for text, (c, _) in zip(texts, AT)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_mask_is_one_token(trained: Clip) -> None:
    unknown = trained.tokenizer.tokenizer.token_to_id("[UNK]")  # type: ignore[attr-defined]
    assert trained.tokenize(["a [UNK] ball"])[0, 2] == unknown


def test_gradient_against_finite_differences(trained: Clip, image: Tensor) -> None:
    """The directional derivative along the gradient of a word's vectors is its length."""
    found = by_gradient(drafted(trained, image, SENTENCES), AT)
    tokens = trained.tokenize([" ".join(words) for words in SENTENCES])
    embedded = trained.embed_tokens(tokens).detach().requires_grad_()
    (gradient,) = torch.autograd.grad((image * trained.encode_text(tokens, embedded)).sum(), embedded)
    for (caption, word), importance in zip(AT, found.tolist(), strict=True):
        pieces = [trained.tokenize([w]).shape[1] - 2 for w in SENTENCES[caption]]
        start = 1 + sum(pieces[:word])
        direction = torch.zeros_like(embedded)
        direction[caption, start : start + pieces[word]] = gradient[caption, start : start + pieces[word]]
        direction /= direction.norm()
        h = 1e-2
        with torch.no_grad():
            up, down = (trained.encode_text(tokens, embedded + s * h * direction) for s in (1, -1))
            slope = ((image * (up - down)).sum() / (2 * h)).item()
        assert importance == pytest.approx(slope, rel=0.02, abs=1e-4)


def test_a_word_of_many_pieces_is_one_word(trained: Clip) -> None:
    assert trained.tokenize(["zqxj"]).shape[1] - 2 > 1


def test_a_word_beyond_the_context_has_none(trained: Clip, image: Tensor) -> None:
    long = ("ball",) * 100
    found = by_gradient(drafted(trained, image[:1], [long]), [(0, 0), (0, 45), (0, 99)])
    assert found[0] > 0 and found[2] == 0


def test_no_gradient_is_left_and_none_is_needed_outside(trained: Clip, image: Tensor) -> None:
    with torch.no_grad():
        found = by_gradient(drafted(trained, image, SENTENCES), AT)
    assert not found.requires_grad and all(p.grad is None for p in trained.parameters())


def test_lengths_of_words_belong_to_their_model(trained: Clip, fresh_model: Clip, image: Tensor) -> None:
    """The same weights with a tokenizer of letters only: other spans, so other importances."""
    fresh_model.load_state_dict(trained.state_dict())
    one = by_gradient(drafted(trained, image, SENTENCES), AT)
    fresh_model.tokenizer = train(["q"], 31, 48)
    other = drafted(fresh_model.eval(), image, SENTENCES)
    letters = by_gradient(other, AT)
    assert spans(other, AT)[1].tolist() == [
        1 + 2 + 4,
        1 + 2 + 4 + 5,
    ]  # a, red, then ball with its start
    assert not torch.allclose(letters, one, atol=1e-4)
