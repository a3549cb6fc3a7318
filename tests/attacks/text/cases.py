"""One of each attack of this room, several threats among them; the contract tests run over all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from immunize.attacks import Attack, BertAttack
from immunize.attacks.text import LEAF, HotFlip, Relaxed, TextFooler
from immunize.threats import Edits

SYNONYMS = str(Path(__file__).parent / "synonyms.yaml")

# name -> the attack, given the folder of a masked language model
CASES: dict[str, Callable[[str], Attack]] = {
    "bert": lambda language: BertAttack(Edits(), language=language, candidates=6, typos=4, positions=2),
    "bert gradient": lambda language: BertAttack(
        Edits(words=2, same_meaning=False), language=language, candidates=6, typos=4, importance="gradient"
    ),
    "bert typos": lambda language: BertAttack(Edits(words=2), typos=8, positions=3),
    "bert share": lambda language: BertAttack(
        Edits(words=4, share=0.2, part_of_speech=True, similarity=0.5, same_meaning=False), language=language
    ),
    "hot flip": lambda language: HotFlip(Edits(words=2), language=language, typos=True, tries=5),
    "hot flip free": lambda language: HotFlip(Edits(same_meaning=False), language=language),
    "leaf": lambda language: LEAF(Edits(characters=1), rho=8),
    "charmer": lambda language: LEAF(Edits(words=2, characters=2), places=2),
    "relaxed": lambda language: Relaxed(Edits(words=2, same_meaning=False), language=language, steps=6),
    "relaxed typos": lambda language: Relaxed(Edits(), language=language, candidates=20, typos=40, steps=8),
    "text fooler": lambda language: TextFooler(Edits(words=2), synonyms=SYNONYMS, positions=2),
}
