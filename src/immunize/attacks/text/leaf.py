"""LEAF and Charmer: single letters changed, the places found by a test character."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Annotated, Literal, NamedTuple, TypeVar

from jaxtyping import Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.greedy import check, embedder
from immunize.attacks.text.rules import Edit
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed, keys, uniform
from immunize.threats import Edits

T = TypeVar("T")


class Gap(NamedTuple):
    """Letters `start` to `stop` of one word of a caption: one that may be replaced, or none, where one may come in."""

    caption: int
    position: int
    start: int
    stop: int


@frozen
class LEAF:
    """argmax over single letters of -<f(x), g(t')>, first where, then which (arXiv:2506.03355; arXiv:2405.04346 sec. 4).

    In each of `threat.characters` rounds (if there is no such bound, of `threat.words`) two encodings for all captions
    together: `test` stands at each place of each editable word, between its letters and instead of them, or at `rho` random
    places of the caption; then the `places` where that hurt most get every character of `alphabet`, or `rho` random ones,
    or none, and each caption takes its worst. What is random follows the caption's id and `rng`. That no new word appears is
    `threat.lexicon`; `language` is asked where `threat.similarity` is set.
    """

    threat: Edits
    rho: Annotated[int, Field(ge=1)] | None = None
    places: Annotated[int, Field(ge=1)] = 1
    test: str = " "
    alphabet: str = ascii_lowercase
    language: str | None = None
    kind: Literal["leaf"] = "leaf"

    def __post_init__(self) -> None:
        check(self.threat, self.language)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return self.edit(model, batch, None, rng)

    def edit(self, model: DualEncoder, batch: Batch, guide: Embedding | None, rng: Generator) -> Batch:
        """The captions away from `guide`, one vector an image; None: from the images."""
        seed, names = draw_seed(rng), keys(batch.caption_ids)
        with Draft.of(model, batch, self.threat, guide, embedder(self.threat, self.language)) as draft:
            rounds = [
                self.threat.characters if n and self.threat.characters is not None else n for n in draft.rules.budget
            ]
            for round_ in range(max(rounds, default=0)):
                playing = {caption for caption, count in enumerate(rounds) if round_ < count}
                where = _gaps(draft, playing)
                leading = self._leading(draft, _some(where, self.rho, seed + 2 * round_, names))
                what = {caption: list(self._letters(draft, gaps)) for caption, gaps in leading.items()}
                some = _some(what, self.rho, seed + 2 * round_ + 1, names)
                draft.improve(draft.allowed(edit for edits in some.values() for edit in edits))
            return draft.finish()

    def _leading(self, draft: Draft, where: Mapping[int, Sequence[Gap]]) -> dict[int, list[Gap]]:
        """The `places` gaps of each caption where the test character hurts most."""
        gaps = [gap for mine in where.values() for gap in mine]
        _, value = draft.score([draft.after(_filled(draft, gap, self.test)) for gap in gaps])
        found: dict[int, list[Gap]] = {}
        for index in value.argsort(descending=True, stable=True).tolist():
            found.setdefault(gaps[index].caption, []).append(gaps[index])
        return {caption: mine[: self.places] for caption, mine in found.items()}

    def _letters(self, draft: Draft, gaps: Sequence[Gap]) -> Iterator[Edit]:
        """Every letter in every gap, and where one may be replaced, none."""
        for gap in gaps:
            for letter in (*self.alphabet, *([""] if gap.start < gap.stop else [])):
                edit = _filled(draft, gap, letter)
                if edit.substitute:
                    yield edit


def _gaps(draft: Draft, playing: Container[int]) -> dict[int, list[Gap]]:
    """The places of each caption that plays, in words that may still be edited: before and on each letter, and last."""
    found: dict[int, list[Gap]] = {}
    for caption, position in draft.rules.open():
        edited = draft.edited(caption)
        if caption in playing and (position in edited or len(edited) < draft.rules.budget[caption]):
            length = len(draft.words[caption][position])
            ends = [(i, j) for i in range(length + 1) for j in (i, i + 1) if j <= length]
            found.setdefault(caption, []).extend(Gap(caption, position, *end) for end in ends)
    return found


def _filled(draft: Draft, gap: Gap, letter: str) -> Edit:
    word = draft.words[gap.caption][gap.position]
    return Edit(gap.caption, gap.position, word[: gap.start] + letter + word[gap.stop :])


def _some(
    found: Mapping[int, Sequence[T]], count: int | None, seed: int, names: Int[Tensor, " c"]
) -> Mapping[int, Sequence[T]]:
    """`count` random ones of each caption's, or all."""
    longest = max(map(len, found.values()), default=0)
    if count is None or longest <= count:
        return found
    order = uniform(seed, names[list(found)], longest)
    return {
        caption: [mine[i] for i in sorted(row[: len(mine)].argsort()[:count].tolist())]
        for (caption, mine), row in zip(found.items(), order)
    }
