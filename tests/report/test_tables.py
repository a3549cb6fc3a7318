"""The README table, letter by letter."""

from pathlib import Path

import pytest

from immunize.config import ConfigurationError, parse
from immunize.evaluation.results import read_all
from immunize.report import Settings, summarize
from immunize.report.names import ATTACKS, ordered
from immunize.report.tables import attacked, best_defense, depths, grouped, markdown

Cell = dict[str, float]


def cell(tr: float, ir: float, arm: float = 2.0) -> Cell:
    tr, ir = float(tr), float(ir)
    ends = {"tr_r1_low": tr - arm, "tr_r1_high": tr + 1, "ir_r1_low": ir - 1, "ir_r1_high": ir + 1}
    return {"tr_r1": tr, "ir_r1": ir, "tr_r10": 99.0} | ends


METRICS = {
    "zeta": {"clean": cell(50, 40)},
    "mat": {"clean": cell(83.04, 70), "joint": cell(12.26, 9), "pgd": cell(1, 1)},
    "pretrain": {"clean": cell(90, 69.96, 3.45), "joint": cell(0, 0)},
}


def test_markdown() -> None:
    assert markdown(METRICS) == (
        "| Defense | Clean | Joint |\n|:--|--:|--:|\n"
        "| Pretrained | **90.0** / 70.0 | 0.0 / 0.0 |\n"
        "| MAT (image and text) | 83.0 / **70.0** | **12.3** / **9.0** |\n"
        "| zeta | 50.0 / 40.0 | – |\n\n"
        "R@1 in percent, image → text / text → image; 95 % intervals reach at most ±3.5 points.\n"
    )


def test_the_same_at_ten() -> None:
    """Only where the ten best answers are asked for do the two differ from R@1."""

    def at_ten(one: Cell) -> Cell:
        return {name.replace("r1", "r10"): value for name, value in one.items() if name != "tr_r10"}

    deep = {defense: {attack: at_ten(one) for attack, one in by.items()} for defense, by in METRICS.items()}
    assert markdown(deep, 10) == markdown(METRICS).replace("R@1", "R@10")


def test_a_table_that_was_not_counted_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"report: shown: no R@3; the k are"):
        parse({"shown": [1, 3]}, Settings, "report")
    assert Settings(k=(5, 10)).shown == (1,)  # which is counted always


def test_what_is_not_in_the_table_does_not_widen_its_note() -> None:
    metrics = {"mat": {"clean": cell(50, 40), "pgd": cell(30, 30, 20.0)}}
    assert "at most ±2.0 points" in markdown(metrics)


def test_nobody_wins_with_nothing() -> None:
    assert "**" not in markdown({"pretrain": {"joint": cell(0, 0)}})


def test_best_defense_is_the_best_under_joint_attack() -> None:
    assert best_defense({name: METRICS[name] for name in ("pretrain", "mat")}) == "mat"
    assert depths(METRICS) == [1, 10]


def test_attacks_are_grouped_by_what_they_changed(run: Path) -> None:
    results = read_all(run / "reports/toy/results")
    metrics = summarize(results, Settings())
    assert grouped(metrics, results) == {
        "": ["clean"], "image": ["square", "image"], "text": ["text", "hot_flip"], "image and text": ["joint"],
        "all of them": ["worst"],
    }  # fmt: skip
    del metrics["mat"]["square"]
    metrics["finetune"]["square"] |= {"tr_r1": 0.0, "ir_r1": 0.0}
    assert grouped(metrics, results)["image"] == ["image", "square"]


def test_how_many_images_were_attacked(run: Path) -> None:
    by_attack = read_all(run / "reports/toy/results")["mat"]
    assert attacked(by_attack.values()) == "10 to 20"
    assert attacked([by_attack["clean"], by_attack["joint"]]) == "20"
    assert attacked([by_attack["clean"]]) == "0"


def test_a_name_that_is_a_defense_and_an_attack_has_a_place_in_both() -> None:
    assert ordered(["immunized", "mat_plus_eda", "matter", "mat"]) == ["mat", "mat_plus_eda", "immunized", "matter"]
    assert ordered(["mat", "leaf", "fare", "zeta"]) == ["fare", "leaf", "mat", "zeta"]
    assert ordered(["sga", "leaf", "clean", "bert_attack"], ATTACKS) == ["clean", "bert_attack", "leaf", "sga"]
