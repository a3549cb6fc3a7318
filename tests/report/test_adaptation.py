"""Contenders, payoffs and the timeline on the page, against the files that they were written from."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from immunize.report import adaptation, timeline
from immunize.report.adaptation import Adaptation

from .outline import rows, section, text
from .watched import GAIN, REGIMES


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return section((written / "reports/toy/report.html").read_text(), "adaptation")


@pytest.fixture(scope="module")
def found(run: Path) -> Adaptation:
    read = adaptation.read(run, "toy")
    assert read is not None
    return read


def said(path: Path) -> list[str]:
    return [e.text or "" for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_contenders_stand_in_the_order_of_the_measure(found: Adaptation) -> None:
    first, last = found.versions
    assert [row.name for row in first.rows] == sorted(GAIN, key=lambda name: -GAIN[name])
    assert [row.name for row in last.rows] == sorted(GAIN)  # all earned the same
    assert [row.name for row in first.rows if row.shipped] == ["linear_ucb"]
    assert [row.name for row in first.rows if row.sure] == ["ppo"]
    assert {row.name for row in first.rows if row.yardstick} == {"oracle", "hindsight", "best_fixed", "random"}
    assert first.regimes == ["characters", "clean", REGIMES[2]]  # square never came up


def test_a_row_letter_by_letter(page: str) -> None:
    """G, earned, regret, lag, never, clean cost, worst, ms, switches, the lead of the shipped one."""
    table = rows(page[page.index("Version A") :])
    assert list(table)[:3] == ["Oracle yardstick", "LinUCB shipped", "PPO"]
    assert table["PPO"] == [
        "0.713",
        "0.250",
        "40.4",
        "∞",
        "80.0",
        "0.250",
        "0.250",
        "0.25",
        "0",
        "+0.088 +0.010 to +0.163",
    ]
    assert table["LinUCB shipped"][3] == "4" and table["LinUCB shipped"][-1] == "–"
    assert (
        page.count("<strong>+0.087</strong>") + page.count("<strong>+0.088</strong>") == 2
    )  # A and C, and no other is sure
    reacting = rows(page[page.index("Version C") :])
    assert reacting["PPO"][3:5] == ["–", "–"]


def test_payoffs_mark_the_best_and_what_was_held_out(page: str, found: Adaptation) -> None:
    assert found.best == {"characters": "robust", "clean": "blur", REGIMES[2]: "blur", "square": "blur"}
    payoffs = page[page.index("<h3>Payoffs</h3>") :]
    table = rows(payoffs)
    assert list(table)[:4] == ["clean", "&lt;i&gt;image&lt;/i&gt;", "characters", "square held out"]
    assert table["clean"] == ["-2.000 55.5 %", "-1.500 55.5 %"] and table["square held out"][0] == "-4.000 55.5 %"
    assert payoffs.count("<strong>-1.500</strong>") == 3 and payoffs.count("<strong>-1.000</strong>") == 1
    assert rows(page[page.index("Regimes that it never met") :]) == {"square": ["0.321"]}


def test_names_and_reasons_are_text(page: str) -> None:
    assert "<i>image" not in page and "<b>" not in page.replace('class="value"', "")
    assert "&lt;b&gt;&lt;i&gt;image" in page
    assert "LinUCB is shipped" in text(page)


def test_stretches_by_hand() -> None:
    assert timeline.stretches("aabccc") == [(0, 2, "a"), (2, 1, "b"), (3, 3, "c")]
    assert timeline.stretches("") == []


def test_the_timeline_shows_beliefs_actions_and_who_is_beside(written: Path) -> None:
    words = said(written / "reports/toy/figures/timeline.svg")
    assert {"clean", "characters", "<i>image</i>", "robust", "blur"} <= set(words) and "square" not in words
    assert {"Shipped", "Best fixed", "Best fixed in hindsight", "Oracle", "Regret so far"} <= set(words)
    assert "Belief in each regime; line: the one that reigns" in words


def test_a_journal_alone_is_a_timeline_without_rewards(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "reports/toy/adapt", tmp_path / "reports/toy/adapt")
    (folder / "timeline.json").unlink()
    read = adaptation.read(tmp_path, "toy")
    assert read is not None and read.timeline is None
    timeline.timeline(read, tmp_path / "timeline.svg")
    words = said(tmp_path / "timeline.svg")
    assert "Regret so far" not in words and "Belief in each regime" in words and "blur" in words


def test_nothing_is_drawn_of_nothing(run: Path, tmp_path: Path) -> None:
    """No journal, and versions whose curves were not kept."""
    folder = shutil.copytree(run / "reports/toy/adapt", tmp_path / "reports/toy/adapt")
    (folder / "journal.jsonl").unlink()
    read = adaptation.read(tmp_path, "toy")
    assert read is not None and read.journal == []
    for version in read.found["versions"].values():
        del version["steps"]
    timeline.timeline(read, tmp_path / "timeline.svg")
    timeline.regret(read, tmp_path / "regret.svg")
    assert not list(tmp_path.glob("*.svg")) and adaptation.read(tmp_path, "nowhere") is None


def test_regret_of_every_contender_but_chance(written: Path) -> None:
    words = said(written / "reports/toy/figures/regret.svg")
    assert (
        words.count("LinUCB (shipped)")
        == words.count("PPO (ends at 40)")
        == words.count("Best fixed in hindsight")
        == 2
    )
    assert "Random" not in words
    assert [word for word in words if word.startswith("Version")] == [
        "Version A, regimes that switch by themselves: regret so far",
        "Version C, against an attacker who reacts: regret so far",
    ]


def test_where_nothing_is_to_adapt_to_all_are_in_the_chart(found: Adaptation, tmp_path: Path) -> None:
    """Best fixed regrets nothing: three times that is no limit."""
    versions = copy.deepcopy(found.found["versions"])
    for version in versions.values():
        version["contenders"]["best_fixed"]["curve"] = [0.0, 0.0]
    timeline.regret(replace(found, found=found.found | {"versions": versions}), tmp_path / "regret.svg")
    words = said(tmp_path / "regret.svg")
    assert words.count("PPO") == 2 and not [word for word in words if "ends at" in word]
