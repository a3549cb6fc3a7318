"""What a reader calls each defense and attack, and the order they are shown in; unknown names follow as they are."""

from __future__ import annotations

from collections.abc import Iterable

DEFENSES = {
    "pretrain": "Pretrained",
    "finetune": "Fine-tuned",
    "tecoa": "TeCoA (image only)",
    "fare": "FARE (image only)",
    "pmg_aft": "PMG-AFT (image only)",
    "tga_zsr": "TGA-ZSR (image only)",
    "leaf": "LEAF (text only)",
    "mmcoa": "MMCoA",
    "mat": "MAT (image and text)",
    "immunized": "Immunized",
    "adapted": "Adapted",
}
HEADLINE = {"clean": "Clean", "image": "Image", "text": "Text", "joint": "Joint", "worst": "Worst of all"}
ATTACKS = HEADLINE | {
    "noise": "Noise",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd": "APGD",
    "fab": "FAB",
    "auto": "AutoAttack",
    "deepfool": "DeepFool",
    "carlini_wagner": "Carlini-Wagner",
    "jsma": "JSMA",
    "de_jsma": "DE-JSMA",
    "universal": "Universal",
    "square": "Square",
    "estimated_gradient": "Estimated gradient",
    "nes": "NES",
    "spsa": "SPSA",
    "hop_skip_jump": "HopSkipJump",
    "genetic": "Genetic",
    "one_pixel": "One pixel",
    "transfer": "Transfer",
    "bert_attack": "BERT-Attack",
    "text_fooler": "TextFooler",
    "leaf": "LEAF",
    "hot_flip": "HotFlip",
    "relaxed": "Relaxed (GBDA)",
    "sep_attack": "Sep-Attack",
    "co_attack": "Co-Attack",
    "sga": "SGA",
    "dra": "DRA",
    "sa_aet": "SA-AET",
    "cmi": "CMI-Attack",
    "simultaneous": "Simultaneous",
    "image_then_text": "Image, then text",
    "text_then_image": "Text, then image",
}


def defense_label(name: str) -> str:
    """`mat_plus_eda` -> `MAT+ eda`."""
    return DEFENSES.get(name, name.replace("mat_plus_", "MAT+ ").replace("_", " "))


def attack_label(name: str) -> str:
    return ATTACKS.get(name, name.replace("_", " "))


def ordered(names: Iterable[str], among: Iterable[str] = DEFENSES) -> list[str]:
    """Known names in the order above, `mat_plus_eda` behind `mat`, the others at the end, by alphabet.

    `among`: ATTACKS, for some names are in both.
    """
    place = {name: i for i, name in enumerate(among)}

    def key(name: str) -> tuple[int, str]:
        known = max((one for one in place if name == one or name.startswith(f"{one}_")), key=len, default=None)
        return (len(place), name) if known is None else (place[known], name.removeprefix(known))

    return sorted(names, key=key)
