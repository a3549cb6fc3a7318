"""Captions spelled again before they are read: unknown words become those of the vocabulary that were meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from immunize.config import frozen
from immunize.models import language
from immunize.models.dual_encoder import DualEncoder
from immunize.models.language import MaskedLanguage
from immunize.models.wrapped import Wrapped
from immunize.serving import spelling
from immunize.serving.spelling import Spelling, core


class Doubt(NamedTuple):
    """What may have been meant by the word at `position` of a caption, commonest first."""

    position: int
    candidates: tuple[str, ...]


@frozen
class Denoise:
    """g~(t) = g(t'): each word that `vocabulary` lacks becomes the nearest that it has, at most `reach` letters away.

    Where several are as near, the masked language model in `language` has the vote: argmax over them of log p(word | the
    caption with every doubtful word masked); without one the commonest. A word with nothing near, a word of the vocabulary
    and what is no word stay. vocabulary: a file of words, one a line, commonest first (`spelling.vocabulary` gives them).
    Spelling before classification: arXiv:1905.11268; masks and votes: arXiv:2203.14207.
    """

    vocabulary: str
    language: str | None = None
    reach: Annotated[int, Field(ge=1, le=3)] = 2
    kind: Literal["denoise"] = "denoise"

    @property
    def passes(self) -> int:
        """One of the vision tower for each image; a caption costs one of the language model where there is a vote."""
        return 1

    def around(self, model: DualEncoder) -> Denoised:
        return Denoised(model, self.cleaner())

    def twin(self) -> Denoise:
        """Itself: it is discrete, and met by a search; gradients of the tokens' vectors are those of the new caption."""
        return self

    def cleaner(self) -> Cleaner:
        """What turns captions into clean ones. Raises FileNotFoundError where there is no vocabulary."""
        voter = None if self.language is None else language.load(self.language)
        return Cleaner(spelling.load(self.vocabulary, self.reach), voter)


class Cleaner:
    """`cleaner(captions)`: the captions as they were probably meant; each distinct one is looked at once.

    When the memory is full it is emptied, so that it holds `limit` captions and no more.
    """

    def __init__(self, spelling: Spelling, voter: MaskedLanguage | None = None, limit: int = 200_000) -> None:
        self.spelling, self.voter, self.limit = spelling, voter, limit
        self._known: dict[str, str] = {}

    def __call__(self, captions: Sequence[str]) -> list[str]:
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if len(self._known) + len(new) > self.limit:
            self._known.clear()
            new = list(dict.fromkeys(captions))
        self._known.update(zip(new, self._cleaned(new)))
        return [self._known[caption] for caption in captions]

    def doubts(self, caption: str) -> tuple[Doubt, ...]:
        """The words of a caption that are to be replaced."""
        found = []
        for position, word in enumerate(caption.split()):
            middle = core(word)[1]
            if not self.spelling.known(middle) and (candidates := self.spelling.candidates(middle)):
                found.append(Doubt(position, candidates))
        return tuple(found)

    def _cleaned(self, captions: Sequence[str], block: int = 256) -> list[str]:
        doubts = [self.doubts(caption) for caption in captions]
        chosen = [[doubt.candidates[0] for doubt in mine] for mine in doubts]
        if self.voter is not None:
            open_ = [i for i, mine in enumerate(doubts) if any(len(doubt.candidates) > 1 for doubt in mine)]
            open_.sort(key=lambda i: len(captions[i]))
            for start in range(0, len(open_), block):
                part = open_[start : start + block]
                votes = voted(self.voter, [captions[i] for i in part], [doubts[i] for i in part])
                for i, words in zip(part, votes, strict=True):
                    chosen[i] = words
        return [_put(*one) if one[1] else one[0] for one in zip(captions, doubts, chosen, strict=True)]


@torch.no_grad()
def voted(voter: MaskedLanguage, captions: Sequence[str], doubts: Sequence[Sequence[Doubt]]) -> list[list[str]]:
    """The candidate that the model finds likeliest at each doubt, by its first piece, all doubts of a caption masked.

    A doubt beyond the model's length, of which it sees nothing, goes to the commonest.
    """
    sentences = [caption.split() for caption in captions]
    for sentence, mine in zip(sentences, doubts, strict=True):
        for doubt in mine:
            sentence[doubt.position] = voter.tokenizer.mask_token
    encoded = voter.encode(sentences)
    logits = voter.model(**encoded).logits.cpu()
    names = list(dict.fromkeys(word for mine in doubts for doubt in mine for word in doubt.candidates))
    pieces = dict(zip(names, (ids[0] for ids in voter.tokenizer(names, add_special_tokens=False)["input_ids"])))
    chosen = []
    for row, mine in enumerate(doubts):
        place = {word: at for at, word in enumerate(encoded.word_ids(row)) if word is not None}  # a mask is one piece
        words = []
        for position, candidates in mine:
            likely = logits[row, place[position], [pieces[word] for word in candidates]] if position in place else None
            words.append(candidates[0 if likely is None else int(likely.argmax())])
        chosen.append(words)
    return chosen


class Denoised(Wrapped):
    """`model` told the captions as `cleaner` has them."""

    def __init__(self, model: DualEncoder, cleaner: Cleaner) -> None:
        Wrapped.__init__(self, model)
        self.cleaner = cleaner

    def tokenize(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        return self.model.tokenize(self.cleaner(captions))

    @property
    def by_word(self) -> bool:
        """No: what a word becomes depends on the words around it."""
        return False


def _put(caption: str, doubts: Sequence[Doubt], words: Sequence[str]) -> str:
    """The caption with these words, in the punctuation of those that stood there."""
    sentence = caption.split()
    for doubt, word in zip(doubts, words, strict=True):
        before, _, behind = core(sentence[doubt.position])
        sentence[doubt.position] = before + word + behind
    return " ".join(sentence)
