"""The whole report, as the stage makes it."""

import json
import shutil
from pathlib import Path

import pytest

from immunize import report
from immunize.evaluation.results import ResultError
from immunize.stages.report import main


def made(root: Path) -> dict[str, bytes]:
    folder = root / "reports/toy"
    paths = [*folder.glob("*.*"), *folder.glob("figures/*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_same_inputs_same_bytes(run: Path, written: Path, tmp_path: Path) -> None:
    root = shutil.copytree(run, tmp_path / "root")
    report.write("toy", root)
    first, second = made(written), made(root)
    assert sorted(first) == sorted(second)
    assert not [name for name in first if first[name] != second[name]]
    charts = [
        f"figures/{n}{d}.svg"
        for n in ("attacks", "clean_vs_robust", "detection", "epsilon_sweep", "loss_curves", "regret", "timeline")
        for d in ("", "-dark")
    ]
    pictures = [f"figures/gallery_{n}{d}.png" for n in ("attacks", "finetune", "mat") for d in ("", "-dark")]
    assert sorted(first) == sorted([*charts, *pictures, "metrics.json", "model_card.md", "report.html"])


def test_the_stage_reports_the_current_preset(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no logs, sweeps, adversarial sets, validation, verifier or policy: what is left is shown, nothing breaks."""
    root = tmp_path / "root"
    shutil.copytree(run / "presets", root / "presets")
    shutil.copytree(run / "reports/toy/results", root / "reports/toy/results", ignore=lambda *_: ["sweep.json"])
    (root / "params.yaml").write_text("preset: toy\n")
    monkeypatch.chdir(root)
    main()
    figures = [f"figures/{name}{end}.svg" for name in ("attacks", "clean_vs_robust") for end in ("-dark", "")]
    assert sorted(made(root)) == [*figures, "metrics.json", "model_card.md", "report.html"]
    html = (root / "reports/toy/report.html").read_text()
    assert not [name for name in ("detection", "adaptation", "adaptive") if f"#{name}" in html or f'"{name}"' in html]
    metrics = json.loads((root / "reports/toy/metrics.json").read_text())
    assert metrics["mat"]["joint"]["tr_r1"] == 30.0
    assert metrics == report.summarize(
        report.read_all(root / "reports/toy/results"), report.Settings(seed=5, samples=200)
    )


def test_no_result_no_report(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="run the stage evaluate first"):
        report.write("toy", tmp_path)
