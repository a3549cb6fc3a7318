"""Attacks on the captions."""

from immunize.attacks.text.bert_attack import BertAttack
from immunize.attacks.text.hot_flip import HotFlip
from immunize.attacks.text.leaf import LEAF
from immunize.attacks.text.relaxed import Relaxed
from immunize.attacks.text.text_fooler import TextFooler

TextAttack = BertAttack | HotFlip | LEAF | Relaxed | TextFooler

__all__ = ["LEAF", "BertAttack", "HotFlip", "Relaxed", "TextAttack", "TextFooler"]
