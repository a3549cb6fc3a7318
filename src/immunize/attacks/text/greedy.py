"""Greedy search: word after word, the most important first, each by the worst of what is on offer for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.rules import Edit, Embed, Place
from immunize.attacks.text.typos import some_typos
from immunize.models import language
from immunize.models.language import Substitutes
from immunize.threats import Edits

Options = Callable[[Place], Sequence[str]]


def greedy(draft: Draft, order: Sequence[Place], options: Options, positions: int = 1) -> None:
    """In round r the `positions` + r leading words of each caption, less those edited, get all that is allowed."""
    places = _of_each(order)
    for round_ in range(max(draft.rules.budget, default=0)):
        leading = [
            (caption, position)
            for caption, mine in places.items()
            if round_ < draft.rules.budget[caption]
            for _, position in mine[: positions + round_]
            if draft.words[caption][position] == draft.rules.original[caption][position]
        ]
        new = (Edit(*place, word) for place in leading for word in draft.rules.kept(place, options(place)))
        draft.improve(draft.rules.rewrites(map(draft.after, new)))


def reach(draft: Draft, order: Sequence[Place], positions: int = 1) -> list[Place]:
    """The places that `greedy` may come to."""
    budget = draft.rules.budget
    return [place for caption, mine in _of_each(order).items() for place in mine[: positions + budget[caption] - 1]]


def _of_each(order: Sequence[Place]) -> dict[int, list[Place]]:
    places: dict[int, list[Place]] = {}
    for place in order:
        places.setdefault(place[0], []).append(place)
    return places


def suggestions(
    draft: Draft,
    folder: str | None,
    cache: str | None,
    count: int,
    typos: int,
    start: Sequence[int],
    legacy: bool = False,
) -> Options:
    """`count` proposals of the masked language model in `folder`, and `typos` of the word from the caption's own start."""
    captions, original = draft.batch.captions, draft.rules.original
    if folder is None or not count or not any(draft.rules.budget):
        found: list[Substitutes] = [((),) * len(words) for words in original]
    else:
        found = language.load(folder, cache).substitutes(captions, count, legacy_offset=legacy)

    def options(place: Place) -> Sequence[str]:
        caption, position = place
        word = original[caption][position].lower()
        return (*found[caption][position], *some_typos(word, typos, start[caption] + position))

    return options


def check(threat: Edits, folder: str | None) -> None:
    """Raises ValueError where sentences are to be compared and no model is named that could."""
    if threat.similarity is not None and folder is None:
        raise ValueError("threat.similarity: name the masked language model that compares sentences in `language`")


def embedder(threat: Edits, folder: str | None) -> Embed | None:
    """The sentence embedding that `threat.similarity` is about; None where it asks for none."""
    return None if threat.similarity is None or folder is None else language.load(folder).embed
