"""The stage collect: from a preset's section to tables in data/<preset>/collect."""

from __future__ import annotations

from pathlib import Path

import pytest

from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.stages.collect import main

SECTION = """
collect:
  source: {kind: scenes, counts: {train: 4, validation: 2, test: 2}, captions: 2, seed: 3}
  size: 32
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text("preset: tiny\n")
    (tmp_path / "presets" / "tiny.yaml").write_text(SECTION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_the_tables_and_says_what_they_hold(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "8 images" in capsys.readouterr().out
    pairs = Pairs.read(project / "data" / "tiny" / "collect", "train")
    assert len(pairs) == 4 and len(pairs.captions) == 8
    assert all(pairs.truth)


def test_an_unknown_key_is_named(project: Path) -> None:
    (project / "presets" / "tiny.yaml").write_text(SECTION.replace("size: 32", "size: 32\n  sise: 3"))
    with pytest.raises(ConfigurationError, match="sise"):
        main()
