"""`python flows/services.py up|down`: Prefect, MLflow and the reports as local web pages, and none left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from environment import environment

ROOT = Path(__file__).parents[1]
READY_SECONDS = 120.0


class ServiceFailed(RuntimeError):
    """A service ended or never answered; the message names its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """A web server on `port`; `health` is a path that answers 200 once it is ready."""

    name: str
    port: int
    health: str
    command: tuple[str, ...]


def services(root: Path) -> tuple[Service, ...]:
    """Each on its usual port, or on any free one where that is taken."""
    prefect, mlflow, reports = _port(4200), _port(5000), _port(8080)
    host = ("--host", "127.0.0.1", "--port")
    database = f"sqlite:///{root / 'mlflow.db'}"
    ui = ("ui", "--backend-store-uri", database, *host, str(mlflow), "--workers", "1")
    static = ("http.server", str(reports), "--bind", "127.0.0.1", "--directory", str(root / "reports"))
    return (
        Service("prefect", prefect, "/api/health", ("prefect", "server", "start", *host, str(prefect))),
        Service("mlflow", mlflow, "/health", ("mlflow", *ui)),
        Service("reports", reports, "/", static),
    )


def up(root: Path) -> dict[str, str]:
    """Starts what is not running yet, and returns {name: address} when all answer; stops all again if one does not."""
    (root / ".run").mkdir(exist_ok=True)
    (root / "reports").mkdir(exist_ok=True)
    running = _running(root)
    try:
        with _choosing_ports():
            for service in services(root):
                if service.name not in running:
                    running[service.name] = _start(service, root)
                    _write(root, running)
            for entry in running.values():
                _await(entry, root)
    except BaseException:
        down(root)
        raise
    return {name: entry["address"] for name, entry in running.items()}


def down(root: Path) -> list[str]:
    """Ends every process of what `up` started, and returns their names."""
    running = _running(root)
    family = [process for entry in running.values() for process in _family(entry)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(family, timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _file(root).unlink(missing_ok=True)
    return list(running)


def prefect_api(root: Path) -> str | None:
    """The API address of the Prefect server that `up` started here, if it is still alive."""
    entry = _running(root).get("prefect")
    return f"{entry['address']}/api" if entry else None


def _start(service: Service, root: Path) -> dict[str, Any]:
    home = os.environ.get("PREFECT_HOME", str(root / ".run" / "prefect"))
    pid = os.posix_spawn(  # not Popen: the service is meant to outlive this process, in a session of its own
        sys.executable,
        [sys.executable, "-m", *service.command],
        environment(root, PREFECT_HOME=home),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(_log(service.name, root)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    address, born = f"http://127.0.0.1:{service.port}", psutil.Process(pid).create_time()
    return {"name": service.name, "pid": pid, "born": born, "address": address, "health": service.health}


def _await(entry: dict[str, Any], root: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if _answers(entry["address"] + entry["health"]):
            return
        if not _alive(entry):
            break
        time.sleep(0.2)
    raise ServiceFailed(f"{entry['name']} does not answer at {entry['address']}; see {_log(entry['name'], root)}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, reset, timed out, or answered with an error
        return False


def _alive(entry: dict[str, Any]) -> bool:
    """The same process, not another that was given its number."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(entry["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - entry["born"]) < 1
    return False


def _family(entry: dict[str, Any]) -> list[psutil.Process]:
    """All of the session that the service leads, also those whose parent is gone."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == entry["pid"]:
                members.append(process)
    return members


def _running(root: Path) -> dict[str, dict[str, Any]]:
    file = _file(root)
    entries = json.loads(file.read_text()) if file.exists() else {}
    return {name: entry for name, entry in entries.items() if _alive(entry)}


def _write(root: Path, running: dict[str, dict[str, Any]]) -> None:
    _file(root).write_text(json.dumps(running, indent=2))


def _file(root: Path) -> Path:
    return root / ".run" / "services.json"


def _log(name: str, root: Path) -> Path:
    return root / ".run" / f"{name}.log"


@contextlib.contextmanager
def _choosing_ports() -> Iterator[None]:
    """One checkout at a time: two that found the same port free would both believe the one that got it to be theirs."""
    with (Path(tempfile.gettempdir()) / f"immunize-services-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _port(usual: int) -> int:
    for port in (usual, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ServiceFailed(f"no port is free beside {usual}")


def main(arguments: list[str]) -> int:
    """`up` prints the addresses, `down` what it ended."""
    if arguments == ["up"]:
        for name, address in up(ROOT).items():
            print(f"{name:8} {address}")
        print(f"for other terminals: export PREFECT_API_URL={prefect_api(ROOT)}")
    elif arguments == ["down"]:
        print(f"ended: {', '.join(down(ROOT)) or 'nothing was running'}")
    else:
        print("usage: python flows/services.py up|down", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
