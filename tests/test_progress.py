"""The records pass unchanged, and a person sees loss, rate and time left."""

from __future__ import annotations

import pytest

from immunize import progress
from immunize.progress import watch

RECORDS = [{"step": step, "loss": 8.0 / step} for step in (1, 2, 4)]


def test_records_pass_unchanged_and_the_end_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(watch(iter(RECORDS), 4, "mat")) == RECORDS
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mat 4/4 loss 2.0000") and lines[0].endswith(" 0 s left")


def test_a_log_gets_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six seconds a look at the clock: the second record is worth a line; the rest goes on at the rate so far."""
    now = iter(float(t) for t in range(0, 10_000, 6))  # two looks at the clock a printed record
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    list(watch(iter(RECORDS), 8, "mat"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["2/8", "4/8"]
    assert lines[0].endswith("36 s left")  # 12 s for 2 of 8 steps


def test_what_has_no_loss_counts_in_its_own_unit(capsys: pytest.CaptureFixture[str]) -> None:
    list(watch(iter([{"step": 50}]), 50, "joint", "images"))
    line = capsys.readouterr().err
    assert line.startswith("joint 50/50 ") and " images/s" in line and "loss" not in line


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    assert list(watch(iter(RECORDS), 4, "mat")) == RECORDS
    shown = capsys.readouterr().err
    assert "mat" in shown and "4/4" in shown and "loss 2.0000" in shown
