"""Prefect: reproduce on a schedule, on a branch of its own, judged by the gate, offered as a pull request.

python flows/retrain.py                              once, now
python flows/retrain.py --cron "0 3 * * *"           every night, until this process ends
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed, State

from immunize.pipeline.gate import Verdict, judge
from reproduce import ROOT, prefect_client, reproduce
from stage import StageFailed, run
from worktree import call, commit, open_pull_request, push_data, worktree


@flow(name="retrain", persist_result=False)
def retrain(root: str = str(ROOT), base: str = "HEAD", force: bool = False, publish: bool = True) -> State[str]:
    """Reproduces `base` in a worktree, commits to retrain/<date>-<time>, pushes, gates; the checkout is left untouched.

    Where the gate holds, the published models become `champion`.
    Completed "Unchanged" where nothing came out different, Completed where the gate holds, Failed where it does not.
    """
    log, project, started = get_run_logger().info, Path(root), datetime.now(UTC)
    revision = call("git", "rev-parse", base, root=project)
    with worktree(project, revision, started) as (path, branch):
        flags = ("--force",) if force else ()
        states = reproduce(root=str(path), flags=flags, publish=publish, store=root)
        ran = sorted(stage for stage, state in states.items() if state == "Ran")
        if not commit(path, f"Retrain: {', '.join(ran) or 'nothing'} ran anew"):
            log("every stage is as in %s: nothing to commit", revision[:12])
            return Completed(name="Unchanged", message=f"{len(states)} stages are as in {revision[:12]}")
        verdict = judge(revision, path)
        done = _offer(path, branch, verdict)
        if publish and verdict.code == 0:
            done.append(_promote(path, revision, root, log))
    for line in done:
        log(line)
    create_markdown_artifact(key="retrain", markdown="\n".join([*(f"- {line}" for line in done), "", verdict.markdown]))
    message = "; ".join(done)
    return Completed(message=message) if verdict.code == 0 else Failed(message=message)


def _offer(path: Path, branch: str, verdict: Verdict) -> list[str]:
    """Pushes data and branch where there are remotes; what was done, a sentence each."""
    pushed = push_data(path)
    address = open_pull_request(path, branch, f"Retrained on {branch}", verdict.markdown, draft=verdict.code != 0)
    return [
        f"committed {call('git', 'rev-parse', '--short', 'HEAD', root=path)} on {branch}",
        "pushed the data to the default DVC remote"
        if pushed
        else "no default DVC remote: the data stays in this cache",
        f"opened {address}" if address else "no git remote or no gh: no pull request, merge the branch by hand",
        verdict.markdown.splitlines()[0],
    ]


def _promote(path: Path, base: str, store: str, log: Callable[[str], None]) -> str:
    """What `python -m immunize.pipeline.promote` did, in a child that may import what a flow must not; undoes nothing."""
    command = [sys.executable, "-m", "immunize.pipeline.promote", base, "--root", str(path), "--store", store]
    try:
        moved = [line for line in run(command, path, log) if line.endswith("is champion")]
    except StageFailed as error:
        return f"no champion: {str(error).splitlines()[-1]}"
    return "; ".join(moved)


def main(arguments: list[str] | None = None) -> int:
    """Once, or with --cron until it is stopped; the schedule itself stays on the server."""
    parser = argparse.ArgumentParser(description="Reproduce on a branch of its own, once or on a schedule.")
    parser.add_argument("--cron", help='when, as in "0 3 * * *"; without it once, now')
    parser.add_argument("--name", default="nightly", help="name of the deployment")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to start from")
    parser.add_argument("--base", default="HEAD", help="the revision to retrain and to be judged against")
    parser.add_argument("--force", action="store_true", help="run also what is up to date")
    parser.add_argument("--no-publish", action="store_true", help="leave MLflow alone")
    chosen = parser.parse_args(arguments)
    parameters = {
        "root": str(chosen.root.resolve()),
        "base": chosen.base,
        "force": chosen.force,
        "publish": not chosen.no_publish,
    }
    with prefect_client():
        if chosen.cron is None:
            return 0 if retrain(**parameters, return_state=True).is_completed() else 1
        if not PREFECT_API_URL.value():
            print("a schedule needs a server: run `make up`, or set PREFECT_API_URL", file=sys.stderr)
            return 2
        # one run at a time, and still scheduled when this process starts again
        retrain.serve(name=chosen.name, cron=chosen.cron, parameters=parameters, limit=1, pause_on_shutdown=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
