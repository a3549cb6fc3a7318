"""The README table, letter by letter."""

from immunize.report.tables import best_defense, depths, markdown

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


def test_nobody_wins_with_nothing() -> None:
    assert "**" not in markdown({"pretrain": {"joint": cell(0, 0)}})


def test_best_defense_is_the_best_under_joint_attack() -> None:
    assert best_defense({name: METRICS[name] for name in ("pretrain", "mat")}) == "mat"
    assert depths(METRICS) == [1, 10]
