"""Retraining on a branch of its own, once and on a schedule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Cancelling

import retrain as module
from immunize.pipeline.doctor import _schedule
from retrain import retrain

pytestmark = pytest.mark.slow


def state_of_checkout(toy: Path, shell) -> tuple[str, str, str]:
    """Where HEAD is, what git sees changed, and which worktrees there are."""
    return tuple(
        shell("git", *command, cwd=toy)
        for command in (("rev-parse", "HEAD", "main"), ("status", "--porcelain"), ("worktree", "list"))
    )


@pytest.fixture
def origin(toy, shell) -> Path:
    """A git remote and a DVC remote, both folders, and a `gh` that says what it was asked."""
    folder = toy.parent / "origin"
    shell("git", "init", "-q", "--bare", str(folder), cwd=toy)
    shell("git", "remote", "add", "origin", str(folder), cwd=toy)
    shell("dvc", "remote", "add", "-q", "--local", "--default", "storage", str(toy.parent / "storage"), cwd=toy)
    return folder


@pytest.fixture
def gh(toy, monkeypatch) -> Path:
    program, calls = toy.parent / "bin" / "gh", toy.parent / "calls"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {calls}\necho https://example.org/pull/7\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


def test_a_change_becomes_a_branch_with_data_and_a_pull_request(server, toy, shell, preset_line, origin, gh):
    preset_line("joint: 12.0", "joint: 13.0")
    shell("git", "commit", "-q", "-a", "-m", "another joint", cwd=toy)
    before = state_of_checkout(toy, shell)
    state = retrain(str(toy), return_state=True)
    assert state.is_completed(), state.message
    assert state_of_checkout(toy, shell) == before
    (branch,) = shell("git", "branch", "--list", "retrain/*", "--format=%(refname:short)", cwd=toy).split()
    changed = shell("git", "diff", "--name-only", f"main..{branch}", cwd=toy).split()
    assert changed == ["dvc.lock", "reports/toy/metrics.json"]
    assert shell("git", "branch", "--list", branch, cwd=origin).strip() == branch
    assert [p for p in (toy.parent / "storage").rglob("*") if p.is_file()]
    assert f"pr create --head {branch}" in gh.read_text() and "--draft" not in gh.read_text()
    assert "opened https://example.org/pull/7" in state.message
    assert "immunize-toy-mat v1 is champion" in state.message  # the gate held


def test_a_regression_is_kept_as_a_branch_and_fails_the_run(server, toy, shell, preset_line):
    preset_line("joint: 12.0", "joint: 8.0")
    shell("git", "commit", "-q", "-a", "-m", "worse", cwd=toy)
    before = state_of_checkout(toy, shell)
    state = retrain(str(toy), publish=False, return_state=True)
    assert state.is_failed() and "1 of 2 gates failed" in state.message
    assert "no default DVC remote" in state.message and "no pull request" in state.message
    assert state_of_checkout(toy, shell) == before
    assert shell("git", "branch", "--list", "retrain/*", cwd=toy)


def test_a_schedule_without_a_server_is_refused(isolated, toy, capsys, monkeypatch):
    monkeypatch.setattr(module, "PREFECT_API_URL", type("Unset", (), {"value": staticmethod(lambda: None)}))
    assert module.main(["--cron", "0 3 * * *", "--root", str(toy)]) == 2
    assert "make up" in capsys.readouterr().err


@contextmanager
def served(toy: Path, cron: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """`python flows/retrain.py --cron ...`, ended at the end."""
    command = [sys.executable, module.__file__, "--cron", cron, "--name", name, "--root", str(toy), "--no-publish"]
    environment = {**os.environ, "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    log = toy.parent / "served.log"
    with log.open("w") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            print(log.read_text())  # pytest shows it where the test fails


def deployment(name: str) -> DeploymentResponse | None:
    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return found[0] if found else None


def ended_runs(name: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return [run for run in runs if run.state and run.state.is_final()]


def test_a_schedule_really_fires(server, toy, shell, eventually):
    """Every minute; the first run finds nothing to do, which is the quickest way to Completed."""
    before = state_of_checkout(toy, shell)
    with served(toy, "* * * * *", "every-minute"):
        eventually(lambda: ended_runs("every-minute"), 150)
    run, *_ = ended_runs("every-minute")
    assert run.state.is_completed() and run.state.name == "Unchanged"
    assert run.auto_scheduled
    assert state_of_checkout(toy, shell) == before
    assert deployment("every-minute").schedules[0].active  # serve ended, and the schedule did not
    assert {check.name: check.status for check in _schedule(toy)}["schedule every-minute"] == "ok"


def test_a_run_canceled_on_the_server_leaves_nothing(server, toy, shell, preset_line, eventually):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 13.0, seconds: 90}")
    shell("git", "commit", "-q", "-a", "-m", "slow", cwd=toy)
    before = state_of_checkout(toy, shell)

    def at_work() -> list[psutil.Process]:
        living = [p for p in psutil.process_iter(["cwd", "cmdline"]) if ".retrain-" in (p.info["cwd"] or "")]
        return [p for p in living if "work.py" in p.info["cmdline"]]

    with served(toy, "0 0 1 1 *", "yearly"), get_client(sync_client=True) as client:
        eventually(lambda: deployment("yearly"), 40)
        run = client.create_flow_run_from_deployment(deployment("yearly").id)
        eventually(at_work, 60)
        client.set_flow_run_state(run.id, Cancelling())
        eventually(lambda: not at_work(), 30)
        eventually(lambda: ended_runs("yearly"), 30)
        eventually(lambda: len(shell("git", "worktree", "list", cwd=toy).splitlines()) == 1, 30)
    assert ended_runs("yearly")[0].state.is_cancelled()
    assert state_of_checkout(toy, shell) == before
