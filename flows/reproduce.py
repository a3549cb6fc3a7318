"""Prefect: one task for each DVC stage. DVC decides whether and in which order; Prefect sees, retries, logs and stops.

python flows/reproduce.py [STAGE ...] [--force] [--pull] [--jobs N] [--no-publish]
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.states import Completed, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from environment import QUIET
from immunize.pipeline.graph import Node, nodes
from order import Future, run_all
from services import prefect_api
from stage import PipelineBusy, StageFailed, release_all, reproduce_stage, run

ROOT = Path(__file__).parents[1]
REASONS = {"Cached": "unchanged since dvc.lock", "Restored": "outputs restored from the run-cache", "Ran": "executed"}


def _busy(task: Any, task_run: Any, state: State[Any]) -> bool:
    try:
        state.result()
    except PipelineBusy:
        return True
    except Exception:
        return False
    return False


# DVC is the only cache: nothing is persisted or cached by Prefect
@task(
    task_run_name="{stage}",
    retries=5,
    retry_delay_seconds=3,
    retry_condition_fn=_busy,
    persist_result=False,
    cache_policy=NO_CACHE,
)
def run_stage(stage: str, root: str, flags: tuple[str, ...] = (), timeout: float | None = None) -> State[str]:
    """Cached, Restored or Ran as the name of the state; raises StageFailed with the end of the stage's output."""
    outcome = reproduce_stage(stage, Path(root), get_run_logger().info, flags, timeout)
    return Completed(name=outcome, message=REASONS[outcome], data=outcome)


@task(task_run_name="publish", persist_result=False, cache_policy=NO_CACHE)
def publish_run(root: str, store: str) -> str:
    """The last line of `python -m immunize.tracking`, in a child process that may import what a flow must not."""
    command = [sys.executable, "-m", "immunize.tracking", "--root", root, "--store", store]
    return run(command, Path(root), get_run_logger().info)[-1]


def at_once(stages: int) -> TaskRunner[Any]:
    """Threads that each wait for the child process of a stage."""
    return ThreadPoolTaskRunner(max_workers=stages)


def threads(jobs: int) -> int:
    """Of each stage, so that together they have a thread a core: on small models two stages pass one with two threads."""
    return max(1, (os.cpu_count() or 1) // jobs)


@flow(name="reproduce", task_runner=at_once(1), persist_result=False)
def reproduce(
    root: str = str(ROOT),
    targets: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    publish: bool = True,
    store: str | None = None,
    jobs: int = 1,
) -> dict[str, str]:
    """How each stage ended, {"collect": "Cached", ...}; raises StageFailed naming those that did not complete.

    `flags` go to each `dvc repro` (--force; --pull --allow-missing). jobs: stages at once, for which the task runner must have
    threads. A failed publication is reported, undoes nothing.
    """

    def submit(node: Node, needs: list[Future]) -> Future:
        arguments = (node.name, root, tuple(flags), node.schedule.timeout_seconds)
        return run_stage.submit(*arguments, wait_for=needs, return_state=False)

    with only_flow(Path(root), get_run_logger().info), no_orphans():
        futures = run_all(nodes(Path(root), tuple(targets)), submit, jobs)
        states = {name: future.state for name, future in futures.items()}
        if publish and all(state.is_completed() for state in states.values()):
            states["publication"] = publish_run(root, store or root, return_state=True)
    create_markdown_artifact(key="stages", markdown=_table(states))
    if (published := states.pop("publication", None)) and not published.is_completed():
        get_run_logger().error("not published to MLflow; the stages stand: %s", published.message)
    failed = [f"{name} ({state.name})" for name, state in states.items() if not state.is_completed()]
    if failed:
        raise StageFailed(f"not completed: {', '.join(failed)}; the log of each stage says why")
    return {name: str(state.name) for name, state in states.items()}


@contextlib.contextmanager
def only_flow(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One flow at a time in a checkout, the others wait: DVC's own lock on paths raises instead of waiting."""
    path = root / ".dvc" / "tmp" / "flow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another flow in {root}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def no_orphans() -> Iterator[None]:
    """Cancel, Ctrl-C or an error: the stages end with the flow."""
    try:
        yield
    except BaseException:
        release_all()
        raise


@contextlib.contextmanager
def prefect_client() -> Iterator[None]:
    """Talks to the server of `make up` where it runs, else to one of its own that ends with this process."""
    os.environ.update(QUIET)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Prefect's exit handlers stop its own server
    logging.getLogger("dvc").setLevel(logging.WARNING)
    url = PREFECT_API_URL.value() or prefect_api(ROOT)
    settings = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120, **({PREFECT_API_URL: url} if url else {})}
    with temporary_settings(settings):
        yield


def _table(states: dict[str, State[Any]]) -> str:
    rows = [f"| {name} | {state.name} | {_first_line(state.message)} |" for name, state in states.items()]
    return "\n".join(["| stage | state | why |", "|---|---|---|", *rows])


def _first_line(message: str | None) -> str:
    return message.splitlines()[0].replace("|", "\\|") if message else ""


def main(arguments: list[str] | None = None) -> int:
    """0 when every stage completed."""
    parser = argparse.ArgumentParser(description="Reproduce the pipeline: one Prefect task for each DVC stage.")
    parser.add_argument("stages", nargs="*", help="stages with all they need (default: all)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to work in")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    parser.add_argument("--pull", action="store_true", help="fetch what is missing from the DVC remote")
    parser.add_argument("--jobs", type=int, default=1, help="stages at the same time, where the graph allows")
    parser.add_argument("--no-publish", action="store_true", help="leave MLflow alone")
    chosen = parser.parse_args(arguments)
    flags = [*(["--force"] if chosen.force else []), *(["--pull", "--allow-missing"] if chosen.pull else [])]
    os.environ.setdefault("OMP_NUM_THREADS", str(threads(chosen.jobs)))
    with prefect_client():
        state = reproduce.with_options(task_runner=at_once(chosen.jobs))(
            str(chosen.root.resolve()),
            tuple(chosen.stages),
            tuple(flags),
            not chosen.no_publish,
            jobs=chosen.jobs,
            return_state=True,
        )
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
