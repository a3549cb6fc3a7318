"""Which rewrites of a batch's captions a threat allows; every refusal is kept under the name of its constraint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from immunize.batch import Batch, Embedding
from immunize.threats import Edits
from immunize.threats.constraints import levenshtein, telling_words

Words = tuple[str, ...]
Embed = Callable[[Sequence[str]], Embedding]


class Edit(NamedTuple):
    """Caption number `caption` with the word at `position` replaced by `substitute`."""

    caption: int
    position: int
    substitute: str


class Rewrite(NamedTuple):
    """Caption number `caption` in other words, as many as it has."""

    caption: int
    words: Words


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
        self._images = len(batch)
        self._verdicts = threat.verdicts(False), threat.verdicts(True)  # where the scene is not known, and where it is
        self._names = telling_words(batch.gallery) if batch.labels is not None else frozenset[str]()
        self._own: list[set[str]] = [set() for _ in range(len(batch))]
        for image, caption in zip(self.owner, batch.captions):
            self._own[image].add(caption.lower())
        self._sentences: Embedding | None = None

    def open(self) -> list[tuple[int, int]]:
        """(caption, position) of every word that may be replaced."""
        return [
            (caption, position)
            for caption, words in enumerate(self.original)
            if self.budget[caption]
            for position, word in enumerate(words)
            if self.threat.editable(word, self.truth[caption] is not None)
        ]

    def edits(self, edits: Iterable[Edit]) -> list[Edit]:
        """The edits whose substitute may stand for the word that was there at first."""
        kept = []
        for edit in dict.fromkeys(edits):
            reason = self._reason(edit.caption, self.original[edit.caption][edit.position], edit.substitute)
            if reason is None:
                kept.append(edit)
            elif edit not in self._met:
                self._refuse(reason, edit.caption)
                self._met.add(edit)
        return kept

    def choices(
        self, places: Iterable[tuple[int, int]], pool: Callable[[str], Sequence[str]]
    ) -> dict[tuple[int, int], tuple[str, ...]]:
        """What may stand at each place, of all that the pool has for its word; the same word is looked at once."""
        found: dict[tuple[str, bool], tuple[tuple[str, ...], Counter[str]]] = {}
        chosen = {}
        for caption, position in places:
            word = self.original[caption][position].lower()
            key = word, self.truth[caption] is not None
            if key not in found:
                reasons = {new: self._reason(caption, word, new) for new in pool(word) if new.lower() != word}
                kept = tuple(new for new, reason in reasons.items() if reason is None)
                found[key] = kept, Counter(reason for reason in reasons.values() if reason is not None)
            chosen[caption, position] = found[key][0]
            for reason, count in found[key][1].items():
                self._refuse(reason, caption, count)
        return chosen

    def rewrites(self, rewrites: Iterable[Rewrite]) -> list[Rewrite]:
        """The rewrites within the budget that hold what the threat asks of a caption as a whole."""
        kept = []
        for rewrite in dict.fromkeys(rewrites):
            changed = [(a, b) for a, b in zip(self.original[rewrite.caption], rewrite.words) if a != b]
            if 0 < len(changed) <= self.budget[rewrite.caption]:
                reason = self._broken(rewrite, changed)
                if reason is None:
                    kept.append(rewrite)
                elif rewrite not in self._met:
                    self._refuse(reason, rewrite.caption)
                    self._met.add(rewrite)
        return self._similar(kept)

    def _broken(self, rewrite: Rewrite, changed: Sequence[tuple[str, str]]) -> str | None:
        limit = self.threat.characters
        if limit is not None and sum(levenshtein(a, b) for a, b in changed) > limit:
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

    def _reason(self, caption: int, word: str, substitute: str) -> str | None:
        """The constraint on single words that is broken."""
        new = substitute.lower()
        if new in self._names and self.threat.distinct:
            return "distinct"
        return self._verdicts[self.truth[caption] is not None](word.lower(), new)

    def _refuse(self, reason: str, caption: int, count: int = 1) -> None:
        if reason not in self.rejected:
            self.rejected[reason] = [0] * self._images
        self.rejected[reason][self.owner[caption]] += count
