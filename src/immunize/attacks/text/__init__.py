"""Attacks on the captions."""

from immunize.attacks.text.bert_attack import BertAttack

TextAttack = BertAttack

__all__ = ["BertAttack", "TextAttack"]
