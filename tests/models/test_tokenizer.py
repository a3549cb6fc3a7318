"""Byte pairs: rows as open_clip wants them, typos readable, the same tokenizer in every process."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from immunize.models.tokenizer import BytePairs, train

CAPTIONS = ["a red ball beside a blue box", "a crimson disc on a striped ground", "two shapes , a red ball"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> BytePairs:
    return train(CAPTIONS, 120, 48)


def test_rows_start_end_and_are_padded(tokenizer: BytePairs) -> None:
    rows = tokenizer(["a red ball", "a", ""])
    assert rows.dtype == torch.int64 and set(rows[:, 0].tolist()) == {tokenizer.start}
    lengths = (rows != 0).sum(dim=1)
    assert lengths[2] == 2 and rows.shape[1] == lengths.max()
    for row, length in zip(rows, lengths.tolist(), strict=True):
        assert row[length - 1] == tokenizer.end == row.max() and (row[length:] == 0).all()


def test_the_end_is_the_largest_id_and_every_id_is_below_the_vocabulary(tokenizer: BytePairs) -> None:
    assert tokenizer.end == tokenizer.vocabulary - 1
    assert tokenizer(["zebra qwertz ÄÖ☃ 1234"]).max() == tokenizer.end
    assert tokenizer([]).shape == (0, 2)


def test_a_long_caption_is_cut_with_its_end_kept(tokenizer: BytePairs) -> None:
    rows = tokenizer(["red ball " * 40, "red"])
    assert rows.shape[1] == 48 and rows[0, -1] == tokenizer.end and rows[1, 2:].max() <= tokenizer.end


def test_the_text_comes_back_and_case_does_not_matter(tokenizer: BytePairs) -> None:
    for caption in (*CAPTIONS, "a rde bal besdie nothing"):
        ids = tokenizer([caption])[0, 1:-1].tolist()
        assert tokenizer.tokenizer.decode(ids) == caption
    assert torch.equal(tokenizer(["A Red BALL"]), tokenizer(["a red ball"]))


def test_words_split_one_by_one(tokenizer: BytePairs) -> None:
    """What the gradient's importance of a word rests upon: its tokens are the same wherever it stands."""
    words = ["a", "rde", "ball", ",", "crimson-colored", "don't", "☃", "[UNK]"]
    alone = [tokenizer([word])[0, 1:-1].tolist() for word in words]
    assert tokenizer([" ".join(words)])[0, 1:-1].tolist() == [token for tokens in alone for token in tokens]


@given(st.lists(st.text(max_size=20), max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["\u00a0a\u3000b\x1f c", "  two  spaces ", "a\tb\nc", "¨ \u0308x", "[PAD] x[UNK]y", "ΟΔΟΣ ΑΣ Σ"])
def test_word_by_word_is_what_the_whole_caption_gives(tokenizer: BytePairs, captions: list[str]) -> None:
    rows = tokenizer(captions)
    for caption, row in zip(captions, rows.tolist(), strict=True):
        ids = tokenizer.tokenizer.encode(caption).ids[:46]
        assert row == [tokenizer.start, *ids, tokenizer.end] + [0] * (len(row) - len(ids) - 2)


def test_a_full_memory_is_emptied_and_changes_nothing(tokenizer: BytePairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("immunize.models.tokenizer.REMEMBERED", 4)
    small = train(CAPTIONS, 120, 48)
    for caption in ("a red ball", "red blue box", "a crimson disc on a striped ground"):
        assert torch.equal(small([caption]), tokenizer([caption]))
        assert set(small._known) == set(caption.split())


def test_a_known_word_is_one_piece_and_a_typo_its_letters(tokenizer: BytePairs) -> None:
    assert tokenizer(["red"]).shape[1] == 3
    typo = tokenizer(["rxd"])
    assert typo.shape[1] > 3 and tokenizer.tokenizer.token_to_id("[UNK]") not in typo


def test_at_most_the_size_asked_for() -> None:
    assert train(CAPTIONS, 60, 16).vocabulary <= 61
