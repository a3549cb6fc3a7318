"""What a reader calls each defense and attack, and the order they are shown in; unknown names follow as they are."""

from __future__ import annotations

from collections.abc import Iterable

DEFENSES = {
    "pretrain": "Pretrained",
    "finetune": "Fine-tuned",
    "tecoa": "TeCoA (image only)",
    "fare": "FARE (image only)",
    "pmg_aft": "PMG-AFT (image only)",
    "mmcoa": "MMCoA",
    "mat": "MAT (image and text)",
    "immunized": "Immunized",
    "adapted": "Adapted",
}
ATTACKS = {"clean": "Clean", "image": "Image", "text": "Text", "joint": "Joint"}
HEADLINE = tuple(ATTACKS)


def defense_label(name: str) -> str:
    """`mat_plus_eda` -> `MAT+ eda`."""
    return DEFENSES.get(name, name.replace("mat_plus_", "MAT+ ").replace("_", " "))


def attack_label(name: str) -> str:
    return ATTACKS.get(name, name.replace("_", " "))


def ordered(names: Iterable[str]) -> list[str]:
    """Known names in the order above, the others after them by alphabet."""
    known = [*DEFENSES, *ATTACKS]
    return sorted(names, key=lambda n: (known.index(n) if n in known else len(known), n))
