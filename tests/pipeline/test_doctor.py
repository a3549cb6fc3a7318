from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading

import pytest

from immunize.pipeline import doctor
from immunize.pipeline.doctor import Check, exit_code, markdown


def by_name(checks) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_working_project_has_no_problem_and_each_warning_its_cure(toy, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    checks = doctor.doctor(toy)
    assert exit_code(checks) == 0, markdown(checks)
    assert all(check.cure for check in checks if check.status != "ok")
    assert len(markdown(checks).splitlines()) == len(checks) + 2


@pytest.mark.parametrize(
    ("package", "found", "broken"),
    [
        ("fastapi", "0.165.0", True),
        ("fastapi", "0.150.0", False),
        ("sqlalchemy", "2.1.9", True),
        ("sqlalchemy", "2.0.58", False),
        ("pygtrie", "3.0", True),
    ],
)
def test_versions_known_to_break(monkeypatch, tmp_path, package, found, broken):
    monkeypatch.setattr(doctor, "installed", lambda name: found if name == package else None)
    check = by_name(doctor._versions(tmp_path))[package]
    assert (check.status == "problem", bool(check.cure)) == (broken, broken)


def test_prefect_3_9_needs_a_newer_certifi(monkeypatch, tmp_path):
    versions = {"prefect": "3.9.1", "certifi": "2026.10.18"}
    monkeypatch.setattr(doctor, "installed", versions.get)
    assert by_name(doctor._versions(tmp_path))["certifi"].status == "problem"
    versions["prefect"] = "3.8.8"
    assert "certifi" not in by_name(doctor._versions(tmp_path))


def test_a_torch_that_does_not_fit_its_torchvision(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "TORCH", "raise RuntimeError('operator torchvision::nms does not exist')")
    (check,) = doctor._device(tmp_path)
    assert check.status == "problem" and "nms" in check.found


def test_no_repository_no_commit_no_dvc(isolated, tmp_path, shell):
    assert next(iter(doctor._git(tmp_path))).found == "no git repository"
    shell("git", "init", "-q", cwd=tmp_path)
    assert "no commit" in next(iter(doctor._git(tmp_path))).found
    assert next(iter(doctor._remote(tmp_path))).status == "problem"


def test_a_remote_is_found(toy, shell):
    assert next(iter(doctor._remote(toy))).status == "warning"
    shell("dvc", "remote", "add", "-q", "--default", "storage", str(toy.parent / "storage"), cwd=toy)
    assert next(iter(doctor._remote(toy))) == Check("dvc remote", "ok", "storage")


def test_a_lock_of_a_dead_process(toy):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock = toy / ".dvc" / "tmp" / "rwlock"
    lock.write_text(json.dumps({"write": {"data": {"pid": gone.pid, "cmd": "dvc repro"}}, "read": {}}))
    (check,) = doctor._locks(toy)
    assert check.status == "warning" and str(gone.pid) in check.found
    lock.write_text('{"write": ')
    assert next(iter(doctor._locks(toy))).status == "problem"


def test_a_broken_mlflow_database(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    (check,) = doctor._mlflow(tmp_path)
    assert check.status == "problem" and "mlflow.db" in check.found


def test_a_prefect_server_that_outlived_its_flow(isolated, tmp_path):
    """Started by a shell that ends at once, so that it has lost its parent."""
    name = "prefect.server.api.server:create_app"
    code = "import time; time.sleep(60)"
    shown = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}" {name} >/dev/null 2>&1 & echo $!'], capture_output=True, text=True
    )
    pid = shown.stdout.strip()
    try:
        (check,) = doctor._strays(tmp_path)
        assert check.status == "warning" and pid in check.found and pid in check.cure
    finally:
        subprocess.run(["kill", pid], check=True)


class TestSchedule:
    """Against a stand-in for the server's two answers."""

    @pytest.fixture
    def answers(self, monkeypatch):
        answers: dict[str, list[dict]] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answers[self.path.split("/")[2]]).encode())

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
            yield answers
            server.shutdown()

    @pytest.mark.parametrize(
        ("active", "runs", "status", "found"),
        [
            (False, [], "warning", "none active"),
            (True, [], "warning", "has never fired"),
            (True, [("COMPLETED", "Completed")], "ok", "last run Completed"),
            (True, [("FAILED", "Failed")], "problem", "last run Failed"),
        ],
    )
    def test_what_the_server_says(self, answers, tmp_path, active, runs, status, found):
        answers["deployments"] = [{"id": "1", "name": "nightly", "schedules": [{"active": active}]}]
        answers["flow_runs"] = [
            {"state_type": kind, "state_name": name, "start_time": "2026-11-20T03:00:00Z", "name": "tidy-fox"}
            for kind, name in runs
        ]
        (check,) = doctor._schedule(tmp_path)
        assert check.status == status and found in check.found

    def test_no_answer_is_a_problem(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
        assert next(iter(doctor._schedule(tmp_path))).status == "problem"
