"""The commands that need no torch: gate, plan, doctor and help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as Outcome

from immunize.pipeline.doctor import Check
from immunize.pipeline.plan import Step

Cli = Callable[..., Outcome]
Refusal = Callable[..., str]


def test_gate_passes_its_verdict_on(cli: Cli, tmp_path: Path, refusal: Refusal) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    Path("params.yaml").write_text("preset: toy\n")
    assert "gates.yaml" in refusal("gate", "HEAD")
    Path("gates.yaml").write_text("toy: {mat.joint.tr_r1: {better: higher, max_drop: 1, floor: 9}}\n")
    Path("reports/toy").mkdir(parents=True)
    for value, code in ((12.0, 0), (3.0, 1)):
        Path("reports/toy/metrics.json").write_text(json.dumps({"mat": {"joint": {"tr_r1": value}}}))
        assert cli("gate", "HEAD", "--allow-no-base").exit_code == code
        assert cli("gate", "HEAD").exit_code == 2


def test_plan_and_doctor_show_their_tables(cli: Cli, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    assert "dvc.yaml" in refusal("plan")
    monkeypatch.setattr("immunize.pipeline.plan.plan", lambda targets: (Step("report", "yes", ("modified a.py",)),))
    assert "| report | yes | modified a.py |" in cli("plan", "report").stdout
    for status, code in (("ok", 0), ("problem", 1)):
        monkeypatch.setattr("immunize.pipeline.doctor.doctor", lambda s=status: (Check("disk", s, "5 GiB free"),))
        outcome = cli("doctor")
        assert outcome.exit_code == code and f"| disk | {status} | 5 GiB free |" in outcome.stdout


def test_help_and_the_light_commands_load_nothing_heavy() -> None:
    look = "import sys, immunize.cli, immunize.pipeline.gate, immunize.pipeline.plan, immunize.pipeline.doctor;"
    heavy = "{'torch', 'dvc', 'transformers', 'pandas', 'pyarrow', 'mlflow', 'prefect'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{look} print({heavy})"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    shown = subprocess.run([sys.executable, "-m", "immunize.cli", "--help"], capture_output=True, text=True, check=True)
    assert all(command in shown.stdout for command in ("attack", "evaluate", "gate", "plan", "doctor"))
