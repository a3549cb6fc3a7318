"""The table of augmentations, letter by letter, and what was gained."""

from __future__ import annotations

from pathlib import Path

from immunize.report.augmentations import markdown, rows


def joint(tr: float, ir: float) -> dict[str, dict[str, float]]:
    return {"joint": {"tr_r1": tr, "ir_r1": ir}}


def test_markdown(run: Path) -> None:
    metrics = {"mat": joint(10.0, 5.0), "mat_plus_eda": joint(13.0, 6.0), "tecoa": {"clean": {"tr_r1": 1.0}}}
    assert markdown(rows(run, "toy", metrics)).splitlines()[2:] == [
        "| none | 100 | – | – | – | – | – | – | – | 10.0 / 5.0 | – |",
        "| eda | 20 | 0.975 | 75.3 | – | – | – | 0.0000 | – | 13.0 / 6.0 | +2.0 |",
    ]


def test_what_was_not_trained_or_attacked_gained_nothing_that_is_known(run: Path) -> None:
    (_, eda) = rows(run, "toy", {"mat_plus_eda": joint(13.0, 6.0)})
    assert eda.gained is None and eda.joint == (13.0, 6.0)
    assert [row.joint for row in rows(run, "toy", {"mat": {"clean": {}}})] == [(None, None)] * 2
    assert rows(run, "nowhere", {}) == []


def test_it_stands_on_the_page(written: Path) -> None:
    html = (written / "reports/toy/report.html").read_text()
    assert '<h2 id="augmentations">' in html and "<td>0.975</td>" in html
