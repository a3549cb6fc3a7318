"""A byte-pair tokenizer learnt from the training captions, with the characters as fallback, so that a typo stays readable."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from string import ascii_lowercase

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[BOS]"
WORD_START = "▁"
REMEMBERED = 2**17  # words
END = "[EOS]"  # kept as the highest id: open_clip pools the text at the largest token


class BytePairs:
    """Captions -> [BOS] pieces [EOS], padded with 0 to the longest caption, cut at `context` tokens."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.start = tokenizer.token_to_id(START)
        self.end = tokenizer.get_vocab_size()
        self._known: dict[str, list[int]] = {}  # of words: captions differ, and are of the same words

    @property
    def vocabulary(self) -> int:
        """Number of ids, the end of text included."""
        return self.end + 1

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        sentences = [caption.split(" ") for caption in captions]  # as the pre-tokenizer parts them, before all else
        self._read(dict.fromkeys(chain.from_iterable(sentences)))
        pieces = [list(chain.from_iterable(map(self._known.__getitem__, words))) for words in sentences]
        length = min(max(map(len, pieces), default=0) + 2, self.context)
        rows = [[self.start, *ids[: length - 2], self.end] + [0] * (length - 2 - len(ids)) for ids in pieces]
        return torch.from_numpy(np.array(rows, dtype=np.int64).reshape(len(rows), length))  # torch.tensor is far slower

    def _read(self, words: Collection[str]) -> None:
        """Tokenize those of the distinct words that are new."""
        new = [word for word in words if word not in self._known]
        if len(self._known) + len(new) > REMEMBERED:
            self._known.clear()
            new = list(words)
        for word, found in zip(new, self.tokenizer.encode_batch_fast(new), strict=True):
            self._known[word] = found.ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these pieces, special ones left out; lower-case words with spaces between them come back as they were."""
        return self.tokenizer.decode([i for i in ids if i != self.end], skip_special_tokens=True)


def train(captions: Iterable[str], size: int, context: int) -> BytePairs:
    """At most `size` pieces, learnt from the captions; the same captions give the same tokenizer in every process.

    Word starts are marked by a character of their own: with a suffix or a prefix (`</w>`, `##`) the trainer numbers the
    letters in the order of a hash table, anew in each process.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(WORD_START, prepend_scheme="always", split=False)]
    )
    tokenizer.decoder = decoders.Metaspace(WORD_START)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, UNKNOWN, START],
        initial_alphabet=[WORD_START, *ascii_lowercase],
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return BytePairs(tokenizer, context)
