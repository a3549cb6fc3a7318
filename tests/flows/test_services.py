from __future__ import annotations

import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import services
from services import Service, ServiceFailed, down

pytestmark = pytest.mark.slow


def pids(root: Path) -> set[int]:
    return {process.pid for entry in services._running(root).values() for process in services._family(entry)}


def test_all_three_answer(up):
    _, addresses = up
    assert set(addresses) == {"prefect", "mlflow", "reports"}
    for address in addresses.values():
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200


def test_up_again_changes_nothing(up):
    root, addresses = up
    before = pids(root)
    assert len(before) >= 3
    assert services.up(root) == addresses
    assert pids(root) == before


@pytest.fixture
def two(monkeypatch):
    """Two services as quick as they get; the second starts a helper."""
    helper = "import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'http.server', sys.argv[1]]).wait()"

    def few(root: Path) -> tuple[Service, ...]:
        first, second = services._port(0), services._port(0)
        (root / "helper.py").write_text(helper)
        monkeypatch.setenv("PYTHONPATH", str(root))
        return (
            Service("one", first, "/", ("http.server", str(first))),
            Service("two", second, "/", ("helper", str(second))),
        )

    monkeypatch.setattr(services, "services", few)
    monkeypatch.setattr(services, "environment", lambda root, **more: {"PYTHONPATH": str(root)})


def test_down_leaves_no_process(two, tmp_path):
    services.up(tmp_path)
    started = pids(tmp_path)
    assert len(started) == 3
    assert down(tmp_path) == ["one", "two"]
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert not (tmp_path / ".run/services.json").exists()
    assert down(tmp_path) == []


def test_one_that_fails_takes_the_others_down_and_names_its_log(two, tmp_path, monkeypatch):
    good = services.services(tmp_path)
    bad = Service("bad", services._port(0), "/", ("no_such_module",))
    monkeypatch.setattr(services, "services", lambda root: (*good, bad))
    with pytest.raises(ServiceFailed, match=r"bad does not answer .*bad\.log"):
        services.up(tmp_path)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(good[0].port) in (p.info["cmdline"] or ())]


def test_a_number_given_to_another_process_is_left_alone(tmp_path):
    (tmp_path / ".run").mkdir()
    me = {"name": "prefect", "pid": psutil.Process().pid, "born": 1.0, "address": "http://127.0.0.1:1", "health": "/"}
    services._write(tmp_path, {"prefect": me})
    assert services.prefect_api(tmp_path) is None
    assert down(tmp_path) == []


def test_a_taken_port_is_replaced_by_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert services._port(port) != port


def test_two_checkouts_that_start_at_once_do_not_take_one_server_for_both(two, tmp_path, monkeypatch):
    usual = services._port(0)

    def one(root: Path) -> tuple[Service, ...]:
        port = services._port(usual)
        return (Service("one", port, "/", ("http.server", str(port), "--bind", "127.0.0.1")),)

    monkeypatch.setattr(services, "services", one)
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        root.mkdir()
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(services.up, roots)
        assert first != second
    finally:
        for root in roots:
            down(root)


def test_usage(capsys):
    assert services.main([]) == 2
    assert "up|down" in capsys.readouterr().err
