"""The GitHub workflows: they parse, call what exists, and their steps do what they say, with a stand-in for `gh`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GH = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *--paginate*) cat "$FOUND" ;; esac
"""


def steps(name: str) -> list[dict]:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"].values()
    return job["steps"]


def script(step_id: str) -> str:
    (step,) = [step for step in steps("metrics.yml") if step.get("id") == step_id]
    return step["run"]


def bash(step_id: str, cwd: Path, **environment: str) -> int:
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script(step_id)]  # as GitHub runs it
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_exists(path):
    runs = "\n".join(step.get("run", "") for step in steps(path.name))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for line in re.findall(r"\bmake ([a-z -]+)", runs) for word in line.split()} <= targets
    for module in re.findall(r"python -m ([a-z_.]+)", runs):
        assert importlib.util.find_spec(module), module


def test_no_secret_beyond_the_token_and_no_expression_inside_a_script():
    for path in WORKFLOWS:
        assert "secrets." not in path.read_text()
        assert not any("${{" in step.get("run", "") for step in steps(path.name)), path


@pytest.fixture
def github(tmp_path, isolated):
    """The variables of a step, and a `gh` that writes down its calls."""
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    (tmp_path / "found").write_text("")
    return {
        "PATH": f"{gh.parent}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "FOUND": str(tmp_path / "found"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "COMMENTS": "repos/o/r/issues/7/comments",
        "COMMENT": "repos/o/r/issues/comments",
    }


def test_a_regression_is_shown_commented_once_and_fails(toy, shell, preset_line, github, tmp_path):
    shell("git", "checkout", "-q", "-b", "change", cwd=toy)
    preset_line("joint: 12.0", "joint: 8.0")
    shell("dvc", "repro", "-q", cwd=toy)
    shell("git", "commit", "-q", "-a", "-m", "worse", cwd=toy)

    assert bash("compare", toy, **github, BASE="main") == 0
    comment = (toy / "comment.md").read_text()
    assert comment.startswith("<!-- immunize-metrics -->")
    assert "FAIL: below the floor 9" in comment
    assert re.search(r"\| reports/toy/metrics.json +\| mat.joint.tr_r1 +\| 12.0 +\| 8.0", comment), comment
    assert "immunize.mat.joint" in comment
    assert (tmp_path / "summary").read_text() == comment

    assert bash("comment", toy, **github) == 0
    (tmp_path / "found").write_text("41\n")  # the next push finds the comment
    assert bash("comment", toy, **github) == 0
    posts = [line for line in (tmp_path / "calls").read_text().splitlines() if "--method" in line]
    assert [re.search(r"--method (\w+ \S+)", line)[1] for line in posts] == [
        "POST repos/o/r/issues/7/comments",
        "PATCH repos/o/r/issues/comments/41",
    ]
    assert (tmp_path / "output").read_text() == "code=1\n"
    assert bash("verdict", toy, CODE="1") == 1


def test_no_change_passes(toy, github, tmp_path):
    assert bash("compare", toy, **github, BASE="main") == 0
    assert (tmp_path / "output").read_text() == "code=0\n"
    assert bash("verdict", toy, CODE="0") == 0
