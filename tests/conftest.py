"""A toy project of the real one's shape: a git and DVC repository, reproduced once, copied for each test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TOY = Path(__file__).parent / "flows" / "toy"
Shell = Callable[..., str]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than half a minute")


@pytest.fixture(scope="session")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Child processes see this code, report nothing home, and keep their databases in a temporary folder."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "flows"))
        from environment import environment

        for name, value in environment(PROJECT).items():
            patch.setenv(name, value)
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "dvc"))
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GIT_DIR", "GIT_WORK_TREE"):
            patch.delenv(name, raising=False)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Toy")
            patch.setenv(f"GIT_{role}_EMAIL", "toy@example.org")
        yield patch


@pytest.fixture(scope="session")
def shell(isolated: pytest.MonkeyPatch) -> Shell:
    """shell("git", "log", cwd=folder): what it printed; fails the test where the command does."""

    def call(*command: str, cwd: Path) -> str:
        if command[0] == "dvc":
            command = (sys.executable, "-m", *command)
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture(scope="session")
def finished_toy(tmp_path_factory: pytest.TempPathFactory, shell: Shell) -> Path:
    """The toy after `dvc repro`, committed; not to be changed."""
    root = tmp_path_factory.mktemp("finished") / "toy"
    shutil.copytree(TOY, root)
    shell("git", "init", "-q", "-b", "main", cwd=root)
    shell("dvc", "init", "-q", cwd=root)
    shell("dvc", "repro", "-q", cwd=root)
    shell("git", "add", "-A", cwd=root)
    shell("git", "commit", "-q", "-m", "first run", cwd=root)
    return root


@pytest.fixture
def toy(finished_toy: Path, tmp_path: Path) -> Path:
    """A copy of the finished toy, to be changed at will."""
    return Path(shutil.copytree(finished_toy, tmp_path / "toy", symlinks=True))


@pytest.fixture
def preset_line(toy: Path) -> Callable[[str, str], None]:
    """preset_line("joint: 12.0", "joint: 8.0") edits the preset of the toy."""

    def replace(old: str, new: str) -> None:
        path = toy / "presets" / "toy.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return replace
