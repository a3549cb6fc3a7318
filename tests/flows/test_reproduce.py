"""The flow on the toy, against the server of `make up`."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

import reproduce as module
from reproduce import reproduce, threads
from stage import StageFailed, reproduce_stage

pytestmark = pytest.mark.slow

FLOW = Path(module.__file__)


def tasks_of(run: FlowRun) -> dict[str, str]:
    """{stage: name of the state} as the server has it: it learns of tasks from events, which come after the flow ended."""
    with get_client(sync_client=True) as client:
        filter_ = FlowRunFilter(id={"any_": [run.id]})
        return {task.name: task.state_name or "" for task in client.read_task_runs(flow_run_filter=filter_)}


def last_run(toy: Path) -> FlowRun:
    with get_client(sync_client=True) as client:
        began = FlowRunFilter(start_time={"is_null_": False})  # other tests have schedules on the same server
        runs = client.read_flow_runs(flow_run_filter=began, sort="START_TIME_DESC", limit=50)
    return next(run for run in runs if run.parameters.get("root") == str(toy))


def start(toy: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(FLOW), "--root", str(toy), "--no-publish", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_states_are_cached_and_ran(server, toy, preset_line, eventually):
    everything = ("collect", "immunize@finetune", "immunize@mat", "report")
    assert reproduce(str(toy), publish=False) == dict.fromkeys(everything, "Cached")
    preset_line("joint: 12.0", "joint: 13.0")
    changed = {"collect": "Cached", "immunize@finetune": "Cached", "immunize@mat": "Ran", "report": "Ran"}
    assert reproduce(str(toy), publish=False) == changed
    run = last_run(toy)
    eventually(lambda: tasks_of(run) == changed)


def test_a_failure_leaves_what_is_below_not_ready_and_what_is_beside_done(server, toy, preset_line, eventually):
    preset_line("finetune: {joint: 1.0, seconds: 0}", "finetune: {joint: 1.0, seconds: 0, fail: true}")
    with pytest.raises(StageFailed, match=r"immunize@finetune \(Failed\), report \(NotReady\)"):
        reproduce(str(toy), publish=False)
    expected = {"collect": "Cached", "immunize@finetune": "Failed", "immunize@mat": "Cached", "report": "NotReady"}
    run = last_run(toy)
    eventually(lambda: tasks_of(run) == expected)


def test_a_failed_publication_is_reported_and_undoes_nothing(server, toy, eventually):
    (toy / "mlflow.db").write_bytes(b"no database" * 1000)
    assert reproduce(str(toy))["report"] == "Cached"
    run = last_run(toy)
    eventually(lambda: tasks_of(run).get("publish") == "Failed")
    assert run.state_name == "Completed"
    with get_client(sync_client=True) as client:
        (artifact,) = [artifact for artifact in client.read_artifacts() if artifact.flow_run_id == run.id]
    assert "| immunize@mat | Cached | unchanged since dvc.lock |" in artifact.data
    assert "| publication | Failed |" in artifact.data


def test_two_flows_at_once_wait_for_each_other(server, toy):
    with (toy / ".dvc/tmp/flow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = start(toy)
        assert second.stdout
        seen = ""
        while "waiting for another flow" not in seen:
            seen = second.stdout.readline()
            assert seen, "ended without waiting"
        assert second.poll() is None
    rest, _ = second.communicate(timeout=60)
    assert second.returncode == 0, rest


def test_two_stages_at_a_time(server, toy, preset_line, eventually):
    preset_line("finetune: {joint: 1.0, seconds: 0}", "finetune: {joint: 2.0, seconds: 3}")
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 13.0, seconds: 3}")
    reproduce.with_options(task_runner=module.at_once(2))(str(toy), targets=("immunize",), publish=False, jobs=2)
    run = last_run(toy)
    eventually(lambda: list(tasks_of(run).values()).count("Ran") == 2)
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
    one, other = [task for task in tasks if task.name.startswith("immunize@")]
    assert max(one.start_time, other.start_time) < min(one.end_time, other.end_time)


def test_a_canceled_flow_leaves_no_process_and_the_next_recovers(server, toy, preset_line, processes, eventually):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 90}")
    flow = start(toy)
    eventually(lambda: len(processes()) >= 4, 40)
    flow.send_signal(signal.SIGTERM)
    flow.communicate(timeout=30)
    assert flow.returncode != 0
    assert processes() == []
    preset_line("seconds: 90", "seconds: 0")
    assert reproduce_stage("immunize@mat", toy, print) == "Restored"


def test_the_stages_at_work_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert [threads(jobs) for jobs in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
