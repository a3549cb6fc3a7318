"""A git worktree on a branch of its own beside the checkout: what a schedule changes never touches the checkout."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from environment import environment


class CommandFailed(RuntimeError):
    """A git, dvc or gh command ended with an error; the message has the command and what it printed."""


def call(*command: str, root: Path) -> str:
    """What the command printed; raises CommandFailed."""
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)} in {root} exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def dvc(*arguments: str, root: Path) -> str:
    """`dvc ...` of this interpreter."""
    return call(sys.executable, "-m", "dvc", *arguments, root=root)


@contextlib.contextmanager
def worktree(root: Path, base: str, started: datetime) -> Iterator[tuple[Path, str]]:
    """A checkout of `base` on the new branch retrain/<date>-<time>, beside `root` so that ../shared is the same place.

    It uses the DVC cache and the local DVC settings of `root`.
    At the end it is removed; the branch stays if it has commits.
    """
    stamp = started.strftime("%Y%m%d-%H%M%S")
    branch, path = f"retrain/{stamp}", root.parent / f"{root.name}.retrain-{stamp}"
    call("git", "worktree", "add", "--quiet", "-b", branch, str(path), base, root=root)
    try:
        settings = root / ".dvc" / "config.local"  # remotes and credentials that are not in git
        if settings.exists():
            shutil.copy(settings, path / ".dvc" / "config.local")
        dvc("cache", "dir", "--local", dvc("cache", "dir", root=root), root=path)
        yield path, branch
    finally:
        call("git", "worktree", "remove", "--force", str(path), root=root)
        if not call("git", "log", "--oneline", f"{base}..{branch}", root=root):
            call("git", "branch", "--quiet", "-D", branch, root=root)


def commit(path: Path, message: str) -> bool:
    """Commits dvc.lock and the tracked reports; False where nothing changed."""
    call("git", "add", "--", "dvc.lock", *(["reports"] if (path / "reports").exists() else []), root=path)
    if not call("git", "diff", "--cached", "--name-only", root=path):
        return False
    call("git", "commit", "--quiet", "-m", message, root=path)
    return True


def push_data(path: Path) -> bool:
    """`dvc push` to the default remote; False where there is none."""
    if not dvc("config", "core.remote", root=path):
        return False
    dvc("push", root=path)
    return True


def open_pull_request(path: Path, branch: str, title: str, body: str, draft: bool) -> str | None:
    """The address of the pull request; None where there is no git remote or no `gh`."""
    remotes = call("git", "remote", root=path).split()
    if not remotes or not shutil.which("gh"):
        return None
    remote = "origin" if "origin" in remotes else remotes[0]
    call("git", "push", "--quiet", "--set-upstream", remote, branch, root=path)
    draft_flag = ["--draft"] if draft else []
    return call("gh", "pr", "create", "--head", branch, "--title", title, "--body", body, *draft_flag, root=path)
