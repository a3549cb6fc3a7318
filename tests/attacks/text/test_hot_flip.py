"""HotFlip: prices are derivatives, the exact score decides, and with enough tries it is exhaustive search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool1d

from immunize.attacks.text import HotFlip, TextFooler
from immunize.attacks.text.draft import Draft
from immunize.attacks.text.first_order import leading, stretched
from immunize.attacks.text.importance import spans
from immunize.attacks.text.synonyms import listed, neighbors
from immunize.attacks.text.typos import typos
from immunize.batch import Batch
from immunize.models import Clip, language
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Edits


def value(model: Clip, batch: Batch, captions: list[str], of: list[int]) -> Tensor:
    image = encode_images(model, batch.images)[batch.owner[torch.tensor(of)]]
    return -(image * encode_captions(model, captions)).sum(dim=1)


def singles(batch: Batch, caption: int, threat: Edits, pool: tuple[str, ...]) -> list[str]:
    """Every caption one allowed edit away."""
    words, truth = batch.captions[caption].split(), batch.truth[int(batch.owner[caption])]
    return [
        " ".join((*words[:i], new, *words[i + 1 :]))
        for i, word in enumerate(words)
        for new in (*pool, *typos(word))
        if threat.editable(word, truth is not None) and threat.allows(word, new, truth)
    ]


@pytest.mark.parametrize("same_meaning", [True, False])
def test_with_all_tries_it_is_exhaustive_search(
    trained: Clip, batch: Batch, language_folder: str, same_meaning: bool
) -> None:
    """And with few of them no better: exhaustive search over single edits bounds it."""
    some, threat = batch.take(torch.tensor([0, 1])), Edits(same_meaning=same_meaning, distinct=False)
    pool = language.load(language_folder).whole_words
    found = {
        tries: HotFlip(threat, language_folder, typos=True, tries=tries)(trained, some, Generator()).captions
        for tries in (1, 5, 10_000)
    }
    for c, caption in enumerate(some.captions):
        edits = [caption, *singles(some, c, threat, pool)]
        best = value(trained, some, edits, [c] * len(edits)).max()
        reached = value(trained, some, [found[tries][c] for tries in found], [c] * 3)
        assert reached[2] == pytest.approx(best.item(), abs=1e-5)
        assert (reached <= best + 1e-5).all() and reached[1] >= reached[0] - 1e-6


def test_a_price_is_the_derivative_towards_the_substitute(trained: Clip, batch: Batch) -> None:
    """Finite differences along E[new] - E[old], where both have as many pieces."""
    with Draft.of(trained, batch, Edits(same_meaning=False), None) as draft:
        read = draft.tokens
        number = {word: len(read.pieces(word)) for words in draft.words for word in words}
        place, new = next(
            ((c, p), new)
            for c, p in draft.rules.open()
            for new in number
            if number[new] == number[draft.words[c][p]] == 1 and new != draft.words[c][p]
        )
        tokens, gradient = draft.slope()
        at = int(spans(draft, [place])[0, 0])
        old = trained.embed_tokens(tokens).detach()
        direction = torch.zeros_like(old)
        direction[place[0], at] = stretched(draft, [new], 1)[0, 0] - old[place[0], at]
        price = (gradient * direction).sum()
        up, down = (-(draft.guide * trained.encode_text(tokens, old + h * direction)).sum() for h in (1e-2, -1e-2))
        assert price.item() == pytest.approx(((up - down) / 2e-2).item(), rel=0.02, abs=1e-4)


def test_the_edits_with_the_highest_prices_lead(trained: Clip, batch: Batch) -> None:
    choices = {(0, 1): ("red", "blue", "ball"), (0, 2): ("green",), (3, 1): ("box", "star")}
    with Draft.of(trained, batch, Edits(same_meaning=False), None) as draft:
        tokens, gradient = draft.slope()
        embedded, prices = trained.embed_tokens(tokens), {}
        for (c, p), words in choices.items():
            first, last = spans(draft, [(c, p)])[0].tolist()
            for word, vectors in zip(words, stretched(draft, words, last - first)):
                change = vectors - embedded[c, first:last]
                prices[c, p, word] = (change * gradient[c, first:last]).sum().item()
        found = leading(draft, choices, 2)
    for caption in (0, 3):
        mine = sorted((e for e in prices if e[0] == caption), key=lambda e: -prices[e])[:2]
        assert [tuple(e) for e in found if e.caption == caption] == mine


def test_other_numbers_of_pieces_are_stretched(trained: Clip, batch: Batch) -> None:
    """By hand: one piece is repeated, two become their mean, as many stay as they are."""
    with Draft.of(trained, batch, Edits(), None) as draft:
        short = next(word for words in draft.words for word in words if len(draft.tokens.pieces(word)) == 1)
        one = trained.embed_tokens(torch.tensor([draft.tokens.pieces(short)]))[0]
        many = trained.embed_tokens(torch.tensor([draft.tokens.pieces("zq")]))[0]
        assert len(one) == 1 and len(many) > 1
        assert torch.allclose(stretched(draft, [short, "zq"], 1), torch.stack([one, many.mean(dim=0, keepdim=True)]))
        assert torch.allclose(stretched(draft, [short], 3)[0], one.expand(3, -1))
        assert torch.equal(stretched(draft, ["zq"], len(many))[0], many)


@pytest.mark.parametrize("width", range(1, 8))
def test_stretching_is_adaptive_average_pooling(trained: Clip, batch: Batch, width: int) -> None:
    words = [word * n for n in (1, 2, 3, 1) for word in ("red", "zq", "xylophone")]
    with Draft.of(trained, batch, Edits(), None) as draft:
        found = stretched(draft, words, width)
        for word, vectors in zip(words, found, strict=True):
            own = trained.embed_tokens(torch.tensor([draft.tokens.pieces(word)]))
            assert torch.allclose(vectors, adaptive_avg_pool1d(own.transpose(1, 2), width)[0].T, atol=1e-6)
        assert stretched(draft, [], width).shape == (0, width, own.shape[2])


def test_without_any_words_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="typos"):
        HotFlip(Edits())


def test_synonyms_from_a_list_and_from_vectors(tmp_path: Path) -> None:
    """By hand: cos(red, crimson) = 0.8, cos(red, blue) = 0."""
    (tmp_path / "list.txt").write_text("Red crimson scarlet\n\nball orb\n")
    (tmp_path / "table.txt").write_text("3 2\nred 1 0\ncrimson 0.8 0.6\nblue 0 2\n")
    assert listed(str(tmp_path / "list.txt")) == {"red": ("crimson", "scarlet"), "ball": ("orb",)}
    near = neighbors(str(tmp_path / "table.txt"), 5, 0.7, block=2)
    assert near == {"red": ("crimson",), "crimson": ("red",), "blue": ()}
    assert neighbors(str(tmp_path / "table.txt"), 1, 0.5)["crimson"] == ("red",)
    with pytest.raises(ValueError, match="synonyms"):
        TextFooler(Edits())


def test_text_fooler_is_exhaustive_over_the_synonyms(trained: Clip, batch: Batch, tmp_path: Path) -> None:
    """With all positions open and one word, as by trying everything; nothing outside the list comes in."""
    (tmp_path / "list.txt").write_text("red crimson blue\nsmall big tiny\nball square\ncircle box\nsquare ring\n")
    table = listed(str(tmp_path / "list.txt"))
    unknown = replace(batch, truth=())
    attack = TextFooler(Edits(), synonyms=str(tmp_path / "list.txt"), positions=99)
    after = attack(trained, unknown, Generator()).captions
    assert after != batch.captions
    for c, caption in enumerate(batch.captions):
        words = caption.split()
        edits = [
            " ".join((*words[:i], new, *words[i + 1 :])) for i, word in enumerate(words) for new in table.get(word, ())
        ]
        scores = value(trained, batch, [caption, *edits], [c] * (1 + len(edits)))
        assert value(trained, batch, [after[c]], [c]).item() == pytest.approx(scores.max().item(), abs=1e-5)
        assert after[c] in [caption, *edits]
