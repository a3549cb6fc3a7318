"""The model card: about the right model, with valid metadata and nothing that changes between equal runs."""

from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def card(written: Path) -> str:
    return (written / "reports/toy/model_card.md").read_text()


def test_is_about_the_best_defense_under_joint_attack(card: str) -> None:
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["tags"][-1] == "mat"
    assert "# MAT (image and text), preset `toy`" in body


def test_gives_metrics_with_intervals_and_settings(card: str) -> None:
    joint = next(line for line in card.splitlines() if line.startswith("| Joint |"))
    assert joint.startswith("| Joint | 30.0 [")
    assert joint.count("|") == 8
    assert "steps: 120" in card and "20 images, largest pixel change 4.00/255, 1.00 words changed a caption" in card
    assert "11 of 12 sanity checks passed" in card and "**Image, gradients failed**" in card


def test_every_attack_has_a_row_and_its_size(card: str) -> None:
    rows = [line.split("|")[1].strip() for line in card.splitlines() if line.startswith("| ") and "[" in line]
    assert rows == ["Clean", "Image", "Text", "Joint", "Worst of all", "Square", "HotFlip"]
    assert "the first 10 to 20 of them attacked" in card and "**Square**: 10 images" in card


def test_says_nothing_of_time(card: str) -> None:
    assert "second" not in card and "1.5" not in card


def test_has_every_section(card: str) -> None:
    sections = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert sections == ["Intended use", "Data", "Training", "Results", "Attack settings", "Limits"]
