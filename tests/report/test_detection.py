"""What the page says of the verifier, against the file that it was written from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from immunize.report import detection, dots
from immunize.report.detection import Detection

from .outline import rows, section, text


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return section((written / "reports/toy/report.html").read_text(), "detection")


@pytest.fixture(scope="module")
def found(run: Path) -> Detection:
    read = detection.read(run, "toy")
    assert read is not None
    return read


def test_families_learned_from_stand_apart_from_those_never_met(found: Detection) -> None:
    assert found.families == {"train": ["pgd"], "seen": ["pgd_half"], "unseen": ["words"]}
    assert found.harmless == ["clean", "jpeg_30", "mismatched"] and found.alphas == ["0.05", "0.01"]
    assert found.range("train", "seen") == (91.25, 95.0) and found.range("unseen") == (62.5, 62.5)


def test_without_the_file_there_is_nothing(tmp_path: Path) -> None:
    assert detection.read(tmp_path, "toy") is None


def test_a_group_without_families_is_left_out(run: Path, tmp_path: Path) -> None:
    """The smallest preset tries no other budgets."""
    shutil.copytree(run / "reports/toy/verify", tmp_path / "reports/toy/verify")
    path = tmp_path / "reports/toy/verify/detection.json"
    table = json.loads(path.read_text())
    for head in table["heads"].values():
        del head["pgd_half"]
    path.write_text(json.dumps(table))
    read = detection.read(tmp_path, "toy")
    assert read is not None and set(read.families) == {"train", "unseen"} and read.range("seen") is None


def test_each_family_under_each_head_with_intervals(page: str) -> None:
    """One class before the perceptron; of each AUROC, TPR at 5 and at 1 %."""
    table = rows(page[page.index("the manipulated score of each head") :])
    assert list(table) == ["PGD", "pgd half", "words"]
    assert table["words"] == ["Never seen", "60.0 57.0–62.0", "20.0 17.0–22.0", "5.0 2.0–7.0",
                              "81.2 78.2–83.2", "62.5 59.5–64.5", "15.6 12.6–17.6"]  # fmt: skip
    assert rows(page[page.index("one feature each") :])["PGD"][2] == "7.0 4.0–9.0"
    assert rows(page[page.index("the more suspicious of the two") :])["PGD"][5] == "90.0 87.0–92.0"


def test_the_text_tells_seen_from_unseen(page: str) -> None:
    said = text(page)
    assert "91.2 to 95.0 % of the attacks of families that it learned from and 62.5 % of the attacks of" in said
    assert "Meant to flag at most 5 % of clean pairs, it flags 4.5 %. Meant to flag at most 1 %" in said


def test_what_is_flagged_without_an_attack(page: str) -> None:
    table = rows(page[page.index("Flagged without an attack") :])
    assert list(table) == ["Clean", "JPEG 30", "Natural mismatch"]
    assert table["Clean"] == ["4.5 0.5–30.0", "1.0 0.5–30.0"] * 2
    assert table["Natural mismatch"][0] == "12.0 0.5–30.0"


def test_attacks_as_served(page: str) -> None:
    table = rows(page[page.index("Attacks as served") :])
    assert table["PGD"] == ["40", "12.0 0.5–30.0", "1.0 0.5–30.0", "80.0", "75.0", "20.0"]
    assert table["words"][-2] == "–"


def test_the_chart_has_a_panel_a_group(written: Path, found: Detection, tmp_path: Path) -> None:
    svg = ElementTree.parse(written / "reports/toy/figures/detection.svg")
    said = [e.text or "" for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    panels = [t.split(":")[0] for t in said if "found at" in t]
    assert panels == ["Learned from", "Seen at another budget", "Never seen"]
    assert {"Perceptron (served)", "One class", "MSP", "PGD", "words"} <= set(said)
    dots.write(found, tmp_path / "either.svg", "either")
    assert (tmp_path / "either.svg").read_text() != (written / "reports/toy/figures/detection.svg").read_text()


@pytest.mark.parametrize(
    "name, label",
    [("noise_4", "Noise 4/255"), ("jpeg_30", "JPEG 30"), ("mismatched", "Natural mismatch"), ("fog_2", "fog 2")],
)
def test_case_labels(name: str, label: str) -> None:
    assert detection.case_label(name) == label
