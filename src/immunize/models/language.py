"""A masked language model that proposes substitutes for the words of a caption, and embeds sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (  # type: ignore[attr-defined]
    AutoModelForMaskedLM,
    AutoTokenizer,
    BatchEncoding,
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
)

from immunize.models.device import best
from immunize.models.shelf import Shelf
from immunize.models.tokenizer import PAD, START, UNKNOWN, WORD_START, train

Substitutes = tuple[tuple[str, ...], ...]


class MaskedLanguage:
    """A BERT-like model with its tokenizer; substitutes are kept, in memory and on `shelf`, so a caption is read once."""

    def __init__(self, model: BertForMaskedLM, tokenizer: BertTokenizerFast, shelf: Shelf | None = None) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.shelf = shelf
        self.vocabulary = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        whole = [word.isalpha() and word not in tokenizer.all_special_tokens for word in self.vocabulary]
        self._whole_words = torch.tensor(whole, device=model.device)
        self._known: dict[str, dict[str, Substitutes]] = {}

    @property
    def whole_words(self) -> tuple[str, ...]:
        """The pieces of the vocabulary that are words of their own."""
        return tuple(self.vocabulary[i] for i in self._whole_words.nonzero().flatten().tolist())

    def substitutes(
        self, captions: Sequence[str], k: int, block: int = 256, legacy_offset: bool = False
    ) -> list[Substitutes]:
        """For each whitespace word of each caption the `k` likeliest whole words at its own position, itself excluded.

        As BERT-Attack (arXiv:2004.09984 sec. 3.2) the caption is read unmasked. A word of several pieces takes the
        proposals at its first piece; a word beyond the model's length has none. `legacy_offset`: at the piece before its
        first, as the copies that do not skip [CLS] have it.
        """
        key = f"{k}{' legacy' if legacy_offset else ''}"
        known = self._known.setdefault(key, {})
        new = sorted((caption for caption in dict.fromkeys(captions) if caption not in known), key=len)
        if self.shelf is not None and new:
            known.update(self.shelf.get(f"{self.digest} {key}", new))
            new = [caption for caption in new if caption not in known]
        for start in range(0, len(new), block):
            part = new[start : start + block]
            found = dict(zip(part, self._propose(part, k, legacy_offset)))
            known.update(found)
            if self.shelf is not None:
                self.shelf.put(f"{self.digest} {key}", found)
        return [known[caption] for caption in captions]

    @cached_property
    def digest(self) -> str:
        """What names the model on the shelf: a hash of its weights and its vocabulary."""
        hashed = hashlib.blake2b("\0".join(self.vocabulary).encode(), digest_size=16)
        for name, value in sorted(self.model.state_dict().items()):
            hashed.update(name.encode())
            hashed.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return hashed.hexdigest()

    @torch.no_grad()
    def _propose(self, captions: Sequence[str], k: int, legacy_offset: bool) -> list[Substitutes]:
        words = [caption.split() for caption in captions]
        encoded = self.encode(words)
        logits = self.model(**encoded).logits.masked_fill(~self._whole_words, -torch.inf)
        top = logits.topk(min(k + 1, int(self._whole_words.sum())), dim=-1).indices.tolist()
        found = []
        for row, sentence in enumerate(words):
            first: dict[int, int] = {}
            for at, word in enumerate(encoded.word_ids(row)):
                if word is not None:
                    first.setdefault(word, at - legacy_offset)
            found.append(
                tuple(self._other(top[row][first[i]], w, k) if i in first else () for i, w in enumerate(sentence))
            )
        return found

    def _other(self, ids: Sequence[int], word: str, k: int) -> tuple[str, ...]:
        own = word.lower()
        return tuple([other for i in ids if (other := self.vocabulary[i]) != own][:k])

    @torch.no_grad()
    def embed(self, captions: Sequence[str], block: int = 256) -> Float[Tensor, "n d"]:
        """A unit vector for each sentence: the mean of the last hidden states over its pieces."""
        parts = []
        for start in range(0, len(captions), block):
            encoded = self.encode([caption.split() for caption in captions[start : start + block]])
            hidden = self.model.base_model(**encoded).last_hidden_state
            mask = encoded["attention_mask"].unsqueeze(-1)
            parts.append(normalize((hidden * mask).sum(dim=1), dim=-1))
        return torch.cat(parts)

    def encode(self, words: Sequence[Sequence[str]]) -> BatchEncoding:
        """Sentences split into words -> padded piece ids, cut at the model's length."""
        return self.tokenizer(
            list(map(list, words)), is_split_into_words=True, padding=True, truncation=True,
            max_length=self.model.config.max_position_embeddings, return_tensors="pt",
        ).to(self.model.device)  # fmt: skip

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


@lru_cache(maxsize=4)
def load(folder: str, cache: str | None = None) -> MaskedLanguage:
    """A saved or published masked language model; nothing is downloaded unless `folder` names a hub model.

    cache: the file where its proposals are kept.
    """
    shelf = None if cache is None else Shelf(Path(cache))
    model = AutoModelForMaskedLM.from_pretrained(folder).to(best())
    return MaskedLanguage(model, AutoTokenizer.from_pretrained(folder), shelf)


def fresh(captions: Iterable[str], *, vocabulary: int, width: int, layers: int, length: int) -> MaskedLanguage:
    """An untrained model of this size, weights from torch's current seed, with a WordPiece tokenizer of the captions."""
    pieces = BertWordPieceTokenizer(_word_pieces(captions, vocabulary), lowercase=True)
    tokenizer = BertTokenizerFast(tokenizer_object=pieces._tokenizer, do_lower_case=True, model_max_length=length)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=max(1, width // 32),
        intermediate_size=4 * width, max_position_embeddings=length, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return MaskedLanguage(BertForMaskedLM(config), tokenizer)


def _word_pieces(captions: Iterable[str], size: int) -> dict[str, int]:
    """Byte pairs spelled as WordPiece's, `red` at the start of a word and `##red` inside: equal in every process."""
    numbers = train(captions, size, context=0).tokenizer.get_vocab()
    pairs = [pair for pair in sorted(numbers, key=numbers.__getitem__) if pair not in (PAD, UNKNOWN, START, WORD_START)]
    letters = [pair for pair in pairs if len(pair) == 1]
    inner = [f"##{pair}" for pair in pairs if not pair.startswith(WORD_START)]
    first = [pair.removeprefix(WORD_START) for pair in pairs if pair.startswith(WORD_START)]
    unique = dict.fromkeys([PAD, UNKNOWN, "[CLS]", "[SEP]", "[MASK]", *letters, *inner, *first])
    return {piece: number for number, piece in enumerate(unique)}
