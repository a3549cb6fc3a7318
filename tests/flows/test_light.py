from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = Path(__file__).parents[2] / "flows"


@pytest.mark.parametrize("modules", ["reproduce, retrain", "services, worktree, leash", "immunize.pipeline.doctor"])
def test_flows_never_import_what_they_start_processes_for(isolated, modules):
    code = f"import sys, {modules}; print({{'torch', 'mlflow', 'transformers', 'pandas'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=FLOWS, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
