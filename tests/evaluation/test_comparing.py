"""Who sees more may not do worse: planted results, and the flag of the one that is out of order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immunize.evaluation.comparing import compared
from immunize.evaluation.results import Flag, Result

BALL = {"norm": "linf", "eps": 4 / 255}


def result(attack: str, ranks: list[int], threat: Any = BALL, kind: str | None = None) -> Result:
    count = len(ranks)
    return Result(
        preset="p", defense="d", attack=attack, config={"kind": kind or attack, "threat": threat}, seed=0, data_hash="",
        model_hash="", image_ids=[str(i) for i in range(count)], caption_ids=[], owner=[], image_rank=ranks,
        caption_rank=[], similarity=[], linf=[0.0] * count, changed_words=[], success=[], forwards=[], backwards=[],
        texts=[], counts={}, flags=[Flag("old", True, 0.0, 0.0, "stays")], seconds=0.0, device="cpu",
    )  # fmt: skip


def flags(*found: Result) -> dict[str, list[tuple[str, bool, float]]]:
    by = {one.attack: one.flags for one in compared(found)}
    assert all(first.name == "old" for first, *_ in by.values())
    return {name: [(flag.name, flag.ok, flag.value) for flag in rest] for name, (_, *rest) in by.items()}


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_black_box_that_beats_gradients(first: bool) -> None:
    """Two images of four that Square fools and neither PGD nor APGD does; only the common images count."""
    square = result("square", [0, 3, 1, 2])
    others = [result("image", [0, 1, 0, 0, 9], kind="pgd"), result("apgd", [0, 2, 0, 0])]
    found = flags(*([square, *others] if first else [*others, square]))
    assert found["square"] == [("no_stronger_than_gradients", False, 0.5)]
    assert found["apgd"] == [] and found["image"] == []


def test_the_gradients_together_are_what_is_compared_with() -> None:
    found = flags(result("pgd", [1, 0, 0, 0]), result("apgd", [0, 1, 1, 0]), result("square", [1, 1, 1, 0]))
    assert found["square"] == [("no_stronger_than_gradients", True, 0.0)]


def test_the_ensemble_fools_what_its_members_do() -> None:
    ranks = [1] * 50 + [0] * 50
    found = flags(result("auto", [0, 0, *ranks[2:]]), result("apgd", ranks), result("fgsm", [0, 0, 0, *ranks[3:]]))
    assert found["apgd"] == [("no_stronger_than_auto", True, 0.02)]  # two of a hundred may be luck
    assert found["fgsm"] == [("no_stronger_than_auto", True, 0.0)] and found["auto"] == []
    worse = flags(result("auto", [0, 0, 0, *ranks[3:]]), result("apgd", ranks))
    assert worse["apgd"] == [("no_stronger_than_auto", False, 0.03)]


def test_one_image_of_few_may_be_luck() -> None:
    assert flags(result("auto", [0] * 10), result("pgd", [1] + [0] * 9))["pgd"] == [
        ("no_stronger_than_auto", True, 0.1)
    ]


def test_what_rounding_took_back_was_fooled() -> None:
    """Nearest fooling images are the first that rounding undoes: that is no weakness of the search."""
    auto = replace(result("auto", [0, 0]), success=[True, True], forwards=[1, 1], backwards=[0, 0], texts=[0, 0])
    assert flags(auto, result("apgd", [3, 4]))["apgd"] == [("no_stronger_than_auto", True, 0.0)]


def test_another_threat_is_another_question() -> None:
    assert flags(result("square", [3]), result("apgd", [0], {"norm": "l2", "eps": 1.0})) == {"square": [], "apgd": []}
    assert flags(result("clean", [0], kind=""), result("sga", [1])) == {"clean": [], "sga": []}
