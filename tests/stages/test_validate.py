"""The stage validate: files on disk in either case, and a pipeline that stops where a critical expectation fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from immunize.data import Scenes
from immunize.data.collect import collect
from immunize.stages.validate import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text("preset: tiny\n")
    source = Scenes({"train": 4, "validation": 2, "test": 2}, captions=2, seed=3)
    collect(source, tmp_path / "data" / "tiny" / "collect", size=32, max_characters=300, max_rejected=0.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verdict(project: Path, section: str) -> bool:
    (project / "presets" / "tiny.yaml").write_text(f"validate: {section}\n")
    try:
        main()
    finally:
        out = project / "data" / "tiny" / "validate"
        assert (out / "validation.html").exists()
        success = json.loads((out / "validation.json").read_text())["success"]
    return success


def test_healthy_data_pass(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(project, "{size: 32, near_duplicates: 1.0}")
    assert "expectations hold" in capsys.readouterr().out


def test_a_failure_stops_the_pipeline_and_names_the_rows(project: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"ValidationFailed: 1 critical .*\n  image_size .*: 8 rows, test-000000: 32x32"
    ):
        verdict(project, "{size: 64, near_duplicates: 1.0}")
