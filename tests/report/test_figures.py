"""Charts as files: what they say, and what must not be in them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from immunize.evaluation.results import read_all
from immunize.report import figures, heat
from immunize.report.figures import smooth
from immunize.report.theme import DARK, INK, canvas, colors, save

CHARTS = ["clean_vs_robust", "loss_curves", "epsilon_sweep", "attacks"]
WATCHED = ["detection", "regret", "timeline"]


def texts(path: Path) -> list[str]:
    return [e.text or "" for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", CHARTS)
def test_every_defense_is_named(written: Path, name: str) -> None:
    found = texts(written / f"reports/toy/figures/{name}.svg")
    names = {"Fine-tuned", "MAT"} if name == "attacks" else {"Fine-tuned", "MAT (image and text)"}
    assert names <= set(found)


@pytest.mark.parametrize("name", [*CHARTS, *WATCHED])
def test_nothing_from_outside_and_no_date(written: Path, name: str) -> None:
    svg = (written / f"reports/toy/figures/{name}.svg").read_text()
    assert not re.search(r'(?:href|src)="(?!#)', svg)
    assert "<dc:date>" not in svg and "<script" not in svg


@pytest.mark.parametrize("name", [*CHARTS, *WATCHED])
def test_the_dark_twin_has_no_light_color(written: Path, name: str) -> None:
    light, dark = ((written / f"reports/toy/figures/{name}{end}.svg").read_text() for end in ("", "-dark"))
    assert INK in light
    assert not [color for color in DARK if color in dark]
    assert len(light) == len(dark)


def test_bars_carry_their_numbers(written: Path) -> None:
    found = texts(written / "reports/toy/figures/clean_vs_robust.svg")
    assert [found.count(f"{value}.0") for value in (90, 80, 10, 50)] == [2, 2, 2, 2]
    assert {"Clean", "Image", "Text", "Joint", "Worst of all"} <= set(found) and "Square" not in found


def test_the_heat_map_has_every_attack_in_order(written: Path) -> None:
    """Clean, then attacks on the image, on the text and on both, the strongest of each last, then their worst."""
    found = texts(written / "reports/toy/figures/attacks.svg")
    names = ["Clean", "Square", "Image", "Text", "HotFlip", "Joint", "Worst of all"]
    assert [text for text in found if text in names] == names
    values = json.loads((written / "reports/toy/metrics.json").read_text())
    for defense, cells in values.items():
        assert len(cells) == 7, defense
        for cell in cells.values():
            assert f"{cell['tr_r1']:.1f}" in found and f"{cell['ir_r1']:.1f}" in found


def test_the_heat_map_shows_what_was_not_run(tmp_path: Path, written: Path) -> None:
    metrics = json.loads((written / "reports/toy/metrics.json").read_text())
    del metrics["mat"]["square"]
    heat.write(metrics, read_all(written / "reports/toy/results"), tmp_path / "attacks.svg")
    assert texts(tmp_path / "attacks.svg").count("–") == 2


def test_loss_of_one_phase_alone(tmp_path: Path) -> None:
    log = [{"step": s, "loss": 1.0 / (s + 1)} for s in range(9)]
    figures.loss_curves({"pretrain": log}, tmp_path / "loss.svg")
    found = texts(tmp_path / "loss.svg")
    assert "Pretraining: loss" in found and "Immunization: loss" not in found


def test_smooth_is_a_centered_mean() -> None:
    values = [float(i % 7) for i in range(80)]
    expected = [sum(values[max(i - 2, 0) : i + 3]) / len(values[max(i - 2, 0) : i + 3]) for i in range(80)]
    assert smooth(values) == pytest.approx(expected)
    assert smooth([3.0, 5.0]) == [3.0, 5.0]


def test_a_defense_keeps_its_color_whoever_else_is_there() -> None:
    assert colors(["mat"])["mat"] == colors(["pretrain", "tecoa", "mat", "fare"])["mat"]
    found = colors(["pretrain", "finetune", "tecoa", "fare", "mmcoa", "mat", "adapted"])
    assert len(set(found.values())) == len(found)
    assert set(found.values()) <= set(DARK)


def test_the_last_digits_of_a_layout_leave_no_trace(tmp_path: Path) -> None:
    """The solver's change from run to run, and matplotlib makes ids of clipped regions from them."""
    for name, noise in (("a", 0.0), ("b", 1e-12)):
        figure, (ax,) = canvas(1, 1, (3.0, 2.0))
        figure.set_layout_engine("none")
        ax.set_position((0.1 + noise, 0.2, 0.7 - noise, 0.6))
        ax.plot([0, 1])
        save(figure, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
