"""Can this machine run the pipeline? Each known way to break it is looked for, and answered with its cure."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil
from packaging.version import Version

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `cure` says what to do where it is not ok."""

    name: str
    status: Status
    found: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Trap:
    """Versions of `package` from `since` on break `what`, and nothing says so when they are installed."""

    package: str
    since: str
    what: str
    cure: str


TRAPS = (
    Trap("fastapi", "0.155", "every Prefect server: Body() has no 'min_items'", "pip install 'fastapi>=0.139,<0.151'"),
    Trap("sqlalchemy", "2.1", "Prefect schedules: they never fire", "pip install 'sqlalchemy>=2.0,<2.1'"),
    Trap("pygtrie", "3", "dvc 3.67: it uses the interface of pygtrie 2", "pip install 'pygtrie<3'"),
)
TORCH = """
import torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""
print(f"{gpu or 'cpu only'}, torch {torch.__version__}, torchvision {torchvision.__version__}")
"""


def doctor(root: Path = Path(".")) -> tuple[Check, ...]:
    """All checks, none of which raises or changes anything."""
    examine: tuple[Callable[[Path], Iterable[Check]], ...] = (
        _versions, _device, _git, _remote, _locks, _disk, _mlflow, _strays, _schedule
    )  # fmt: skip
    return tuple(check for look in examine for check in look(root))


def markdown(checks: Iterable[Check]) -> str:
    """The findings as a table."""
    rows = [f"| {c.name} | {c.status} | {c.found} | {c.cure} |" for c in checks]
    return "\n".join(["| check | status | found | cure |", "|---|---|---|---|", *rows])


def exit_code(checks: Iterable[Check]) -> int:
    """1 when there is any problem; warnings pass."""
    return int(any(check.status == "problem" for check in checks))


def installed(package: str) -> str | None:
    """Its version, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions(root: Path) -> Iterable[Check]:
    for trap in TRAPS:
        found = installed(trap.package)
        if found is not None and Version(found) >= Version(trap.since):
            yield Check(trap.package, "problem", f"{found} breaks {trap.what}", trap.cure)
        else:
            yield Check(trap.package, "ok", found or "not installed")
    prefect, certifi = installed("prefect"), installed("certifi")
    if prefect and certifi and Version(prefect) >= Version("3.9") and Version(certifi) < Version("2026.10.19"):
        cure = "pip install prefect==3.8.8, or certifi>=2026.10.19 where the index has it"
        yield Check("certifi", "problem", f"{certifi} is too old for prefect {prefect}", cure)


def _device(root: Path) -> Iterable[Check]:
    """In a child process: a torch that does not fit its torchvision fails when it is imported or first used."""
    done = _run(sys.executable, "-c", TORCH, root=root)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        cure = "install the torchvision of this torch: pip install --force-reinstall torch torchvision"
        yield Check("torch", "problem", last, cure)
    else:
        yield Check("torch", "ok", done.stdout.strip())


def _git(root: Path) -> Iterable[Check]:
    if _run("git", "rev-parse", "--is-inside-work-tree", root=root).returncode:
        yield Check("git", "problem", "no git repository", "git init && git add -A && git commit -m start")
        return
    head = _run("git", "rev-parse", "--short", "HEAD", root=root)
    if head.returncode:
        yield Check("git", "problem", "no commit: metric diffs print nothing", "git add -A && git commit -m start")
    else:
        yield Check("git", "ok", f"at {head.stdout.strip()}")


def _remote(root: Path) -> Iterable[Check]:
    if not (root / ".dvc").is_dir():
        yield Check("dvc", "problem", "not a DVC repository", "dvc init")
        return
    remote = _run(sys.executable, "-m", "dvc", "config", "core.remote", root=root).stdout.strip()
    cure = "dvc remote add --default storage FOLDER-OR-BUCKET: else another clone must run everything"
    yield Check("dvc remote", "ok", remote) if remote else Check("dvc remote", "warning", "no default remote", cure)


def _locks(root: Path) -> Iterable[Check]:
    file = root / ".dvc" / "tmp" / "rwlock"
    try:
        locks = json.loads(file.read_text()) if file.exists() else {}
    except json.JSONDecodeError:
        yield Check("dvc lock", "problem", f"{file} is cut off", f"rm {file}")
        return
    readers = [holder for holders in locks.get("read", {}).values() for holder in holders]
    holders = {holder["pid"] for holder in [*locks.get("write", {}).values(), *readers]}
    stale = sorted(pid for pid in holders if not psutil.pid_exists(pid))
    if stale:
        yield Check(
            "dvc lock", "warning", f"held by {stale}, which ended", f"the next dvc repro clears it, or rm {file}"
        )
    else:
        yield Check("dvc lock", "ok", f"in use by {sorted(holders)}" if holders else "free")


def _disk(root: Path) -> Iterable[Check]:
    free = shutil.disk_usage(root).free / 2**30
    status: Status = "problem" if free < 2 else "warning" if free < 10 else "ok"
    yield Check(
        "disk", status, f"{free:.0f} GiB free", "" if status == "ok" else "dvc gc --workspace, or a larger disk"
    )


def _mlflow(root: Path) -> Iterable[Check]:
    file = root / "mlflow.db"
    if not file.exists():
        yield Check("mlflow", "ok", "nothing published yet")
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            (runs,) = database.execute("select count(*) from runs").fetchone()
        yield Check("mlflow", "ok", f"{runs} runs")
    except sqlite3.Error as error:
        cure = f"move {file} away and publish again: python -m immunize.tracking"
        yield Check("mlflow", "problem", f"{file}: {error}", cure)


def _strays(root: Path) -> Iterable[Check]:
    """Prefect servers that a flow started for itself and that outlived it."""
    strays = []
    for process in psutil.process_iter(["ppid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "prefect.server.api.server:create_app" in command and process.info["ppid"] == 1:
            strays.append(process.pid)
    if strays:
        pids = " ".join(map(str, strays))
        yield Check("stray servers", "warning", f"Prefect servers without a flow: {pids}", f"kill {pids}")
    else:
        yield Check("stray servers", "ok", "none")


def _schedule(root: Path) -> Iterable[Check]:
    url = _prefect_api(root)
    if url is None:
        yield Check(
            "schedule", "warning", "no Prefect server", "make up, then python flows/retrain.py --cron '0 3 * * *'"
        )
        return
    try:
        deployments = [d for d in _post(f"{url}/deployments/filter", {}) if any(s["active"] for s in d["schedules"])]
        if not deployments:
            yield Check("schedule", "warning", "none active", "python flows/retrain.py --cron '0 3 * * *'")
        for deployment in deployments:
            yield _last_run(url, deployment)
    except (OSError, ValueError) as error:
        yield Check("schedule", "problem", f"{url} does not answer: {error}", "make down, then make up")


def _last_run(url: str, deployment: dict[str, Any]) -> Check:
    name = f"schedule {deployment['name']}"
    query = {
        "flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "start_time": {"is_null_": False}},
        "sort": "START_TIME_DESC",
        "limit": 1,
    }
    if not (runs := _post(f"{url}/flow_runs/filter", query)):
        return Check(name, "warning", "has never fired", "leave python flows/retrain.py --cron ... running")
    state = f"last run {runs[0]['state_name']} at {runs[0]['start_time'][:16]}"
    good = runs[0]["state_type"] in ("COMPLETED", "RUNNING")
    return Check(name, "ok", state) if good else Check(name, "problem", state, f"read the log of run {runs[0]['name']}")


def _prefect_api(root: Path) -> str | None:
    """PREFECT_API_URL, or the server of `make up`."""
    file = root / ".run" / "services.json"
    running = json.loads(file.read_text()) if file.exists() else {}
    address = running.get("prefect", {}).get("address")
    return os.environ.get("PREFECT_API_URL") or (f"{address}/api" if address else None)


def _post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def _run(*command: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=root, capture_output=True, text=True)
