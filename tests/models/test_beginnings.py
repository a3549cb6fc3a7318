"""The distinct beginnings of some texts, against a set of prefixes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from immunize.models.beginnings import beginnings

END = 9
TEXTS = st.lists(st.lists(st.integers(1, 3), max_size=5), min_size=1, max_size=8)


def padded(texts: list[list[int]]) -> Tensor:
    """The texts, each closed by END and padded with 0."""
    length = max(map(len, texts)) + 1
    return torch.tensor([[*text, END] + [0] * (length - 1 - len(text)) for text in texts])


@given(TEXTS)
def test_each_prefix_is_there_once_and_every_path_leads_through_the_prefixes_of_its_text(
    texts: list[list[int]],
) -> None:
    tokens = padded(texts)
    tree = beginnings(tokens)
    rows = [tuple([*text, END]) for text in texts]
    prefixes = {row[: j + 1] for row in rows for j in range(len(row))}
    known = []
    for flat in tree.first.tolist():
        text, place = divmod(flat, tokens.shape[1])
        known.append(rows[text][: place + 1])
    assert len(known) == len(set(known)) and set(known) == prefixes
    for row, path, end in zip(rows, tree.path.tolist(), tree.end.tolist()):
        assert [known[path[j]] for j in range(len(row))] == [row[: j + 1] for j in range(len(row))]
        assert known[end] == row


@given(TEXTS)
def test_unshared_there_is_one_for_every_token(texts: list[list[int]]) -> None:
    tokens = padded(texts)
    tree = beginnings(tokens, shared=False)
    assert len(tree.first) == int((tokens != 0).sum())
    assert (tokens.flatten()[tree.first][tree.path] == tokens)[tokens != 0].all()
    assert (tokens.flatten()[tree.first][tree.end] == END).all()
