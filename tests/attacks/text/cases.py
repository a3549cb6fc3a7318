"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable

from immunize.attacks import Attack, BertAttack
from immunize.threats import Edits

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "bert": lambda language: BertAttack(Edits(), language=language, candidates=6, typos=4, positions=2),
    "bert gradient": lambda language: BertAttack(
        Edits(words=2, same_meaning=False), language=language, candidates=6, typos=4, importance="gradient"
    ),
    "bert typos": lambda language: BertAttack(Edits(words=2), typos=8, positions=3),
}
