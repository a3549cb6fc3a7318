"""Which rewrites of a batch's captions a threat allows; every refusal is kept under the name of its constraint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import filterfalse
from operator import ne
from typing import NamedTuple

from immunize.batch import Batch, Embedding
from immunize.threats import Edits
from immunize.threats.constraints import levenshtein, telling_words
from immunize.threats.edits import Verdict

Words = tuple[str, ...]
Place = tuple[int, int]  # caption, position
Embed = Callable[[Sequence[str]], Embedding]
SAME = "same"


class Edit(NamedTuple):
    """Caption number `caption` with the word at `position` replaced by `substitute`."""

    caption: int
    position: int
    substitute: str


class Rewrite(NamedTuple):
    """Caption number `caption` in other words, as many as it has."""

    caption: int
    words: Words


class Sieved(NamedTuple):
    """Which substitutes a word may have, and how many others each constraint refused."""

    kept: tuple[str, ...]
    refused: Counter[str]


class Reasons(dict[str, str]):
    """substitute -> the constraint on single words that it breaks in place of `word`, "" where it may stand.

    The word itself has the reason SAME, which is no refusal.
    """

    def __init__(self, verdict: Verdict, names: frozenset[str], word: str) -> None:
        self.verdict, self.names, self.word = verdict, names, word

    def __missing__(self, substitute: str) -> str:
        same = substitute.lower() == self.word
        self[substitute] = reason = SAME if same else _reason(self.verdict, self.names, self.word, substitute)
        return reason

    def sieve(self, options: Sequence[str]) -> Sieved:
        """The options that are other words, parted by whether they may stand."""
        options = tuple(dict.fromkeys(options))
        refused = Counter(reason for reason in map(self.__getitem__, options) if reason and reason != SAME)
        return Sieved(tuple(filterfalse(self.__getitem__, options)), refused)


reasons = lru_cache(maxsize=2**12)(Reasons)  # the same few thousand words come in every batch


class Rules:
    """The threat, asked about the captions of one batch; `embed` gives a unit vector for a sentence."""

    def __init__(self, threat: Edits, batch: Batch, embed: Embed | None = None) -> None:
        self.threat, self.batch, self.embed = threat, batch, embed
        self.owner = batch.owner.tolist()
        self.original: list[Words] = [tuple(caption.split()) for caption in batch.captions]
        self.truth = [batch.truth[image] if batch.truth else None for image in self.owner]
        self.budget = [threat.budget(len(words)) for words in self.original]
        self.rejected: dict[str, list[int]] = {}  # constraint -> refusals of each image
        self._met: set[Edit | Rewrite] = set()
        self._known: set[Place] = set()
        self._images = len(batch)
        self._verdicts = threat.verdicts(False), threat.verdicts(True)  # where the scene is not known, and where it is
        classes = batch.labels is not None and threat.distinct
        self._names = telling_words(batch.gallery) if classes else frozenset[str]()
        self._own: list[set[str]] = [set() for _ in range(len(batch))]
        for image, caption in zip(self.owner, batch.captions):
            self._own[image].add(caption.lower())
        self._sentences: Embedding | None = None

    def open(self) -> list[Place]:
        """(caption, position) of every word that may be replaced."""
        editable = cache(self.threat.editable)  # most captions say the same
        return [
            (caption, position)
            for caption, words in enumerate(self.original)
            if self.budget[caption]
            for position, word in enumerate(words)
            if editable(word, self.truth[caption] is not None)
        ]

    def edits(self, edits: Iterable[Edit]) -> list[Edit]:
        """The edits whose substitute may stand for the word that was there at first."""
        kept = []
        for edit in dict.fromkeys(edits):
            reason = _reason(*self._asked(edit), edit.substitute)
            if not reason:
                kept.append(edit)
            elif edit not in self._met:
                self._refuse(reason, edit.caption)
                self._met.add(edit)
        return kept

    def kept(self, place: Place, options: Sequence[str]) -> tuple[str, ...]:
        """Those of the options that are other words and may stand at the place, which is always offered the same.

        So refusals are counted at the first call that has any.
        """
        return self._counted(place, reasons(*self._asked(place)).sieve(options))

    def choices(self, places: Iterable[Place], pool: Callable[[str], Sequence[str]]) -> dict[Place, tuple[str, ...]]:
        """What may stand at each place, of all that the pool has for its word; the same word is looked at once."""
        found: dict[tuple[Verdict, str], Sieved] = {}
        chosen = {}
        for place in places:
            verdict, names, word = self._asked(place)
            if (verdict, word) not in found:
                found[verdict, word] = Reasons(verdict, names, word).sieve(pool(word))  # too many to be remembered
            chosen[place] = self._counted(place, found[verdict, word])
        return chosen

    def rewrites(self, rewrites: Iterable[Rewrite]) -> list[Rewrite]:
        """The rewrites within the budget that hold what the threat asks of a caption as a whole."""
        kept = []
        for rewrite in dict.fromkeys(rewrites):
            if 0 < sum(map(ne, self.original[rewrite.caption], rewrite.words)) <= self.budget[rewrite.caption]:
                reason = self._broken(rewrite)
                if reason is None:
                    kept.append(rewrite)
                elif rewrite not in self._met:
                    self._refuse(reason, rewrite.caption)
                    self._met.add(rewrite)
        return self._similar(kept)

    def _broken(self, rewrite: Rewrite) -> str | None:
        limit, words = self.threat.characters, zip(self.original[rewrite.caption], rewrite.words)
        if limit is not None and sum(levenshtein(a, b) for a, b in words if a != b) > limit:
            return "characters"
        own = self._own[self.owner[rewrite.caption]]
        return "distinct" if self.threat.distinct and " ".join(rewrite.words).lower() in own else None

    def _similar(self, rewrites: list[Rewrite]) -> list[Rewrite]:
        """Those whose sentence embedding stays within `threat.similarity` of the original caption's."""
        if self.threat.similarity is None or self.embed is None or not rewrites:
            return rewrites
        if self._sentences is None:
            self._sentences = self.embed(self.batch.captions)
        original = self._sentences[[rewrite.caption for rewrite in rewrites]]
        cosine = (original * self.embed([" ".join(rewrite.words) for rewrite in rewrites])).sum(dim=1)
        close = (cosine >= self.threat.similarity).tolist()
        for rewrite, keep in zip(rewrites, close):
            if not keep and rewrite not in self._met:
                self._refuse("similarity", rewrite.caption)
                self._met.add(rewrite)
        return [rewrite for rewrite, keep in zip(rewrites, close) if keep]

    def _asked(self, at: Place | Edit) -> tuple[Verdict, frozenset[str], str]:
        """What decides about substitutes of a word, the word in lower case."""
        caption, position, *_ = at
        return self._verdicts[self.truth[caption] is not None], self._names, self.original[caption][position].lower()

    def _counted(self, place: Place, sieved: Sieved) -> tuple[str, ...]:
        """What is left at the place; the others are counted, once."""
        if sieved.refused and place not in self._known:
            self._known.add(place)
            for reason, count in sieved.refused.items():
                self._refuse(reason, place[0], count)
        return sieved.kept

    def _refuse(self, reason: str, caption: int, count: int = 1) -> None:
        if reason not in self.rejected:
            self.rejected[reason] = [0] * self._images
        self.rejected[reason][self.owner[caption]] += count


def _reason(verdict: Verdict, names: frozenset[str], word: str, substitute: str) -> str:
    """The constraint on single words that is broken; "" for none."""
    new = substitute.lower()
    return "distinct" if new in names else verdict(word, new) or ""
