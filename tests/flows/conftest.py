"""One server for all the flow tests: that of `make up`, in a temporary project."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(scope="session")
def up(isolated: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The project folder and {service: address}; afterwards none of its processes is left."""
    import services

    root = tmp_path_factory.mktemp("up")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_HOME")  # the server's is .run/prefect of the project
        addresses = services.up(root)
    yield root, addresses
    family = [process for entry in services._running(root).values() for process in services._family(entry)]
    services.down(root)
    assert not [process for process in family if process.is_running()]


@pytest.fixture(scope="session")
def server(isolated: pytest.MonkeyPatch, up: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """The API address, which flows in this process and in its children use."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = f"{up[1]['prefect']}/api"
    isolated.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}):
        yield url
    isolated.delenv("PREFECT_API_URL")


@pytest.fixture
def processes(toy: Path) -> Callable[[], list[psutil.Process]]:
    """The living processes that work in the toy."""

    def inside() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cwd", "status"]):
            alive = process.info["status"] != psutil.STATUS_ZOMBIE
            if alive and process.info["cwd"] == str(toy):
                found.append(process)
        return found

    return inside


@pytest.fixture
def eventually() -> Callable[..., None]:
    """eventually(condition, seconds=20) waits for it, and fails the test where it does not come."""

    def wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.1)

    return wait
