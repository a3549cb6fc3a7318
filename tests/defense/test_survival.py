"""kill -9 at ten moments of training, each resumed to the bytes of the undisturbed run; and what else may go wrong.

The moments are drawn anew by a seeded generator: six in time, two in the middle of a checkpoint's write or between its two
renamings, two in the middle of the final save's. A process that has loaded everything forks each run, so that the killing is
real and quick.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from immunize import defense, models
from immunize.attacks import PGD
from immunize.data.loader import Pairs
from immunize.defense import Diverged, Method, NotWritten, Training, Unreadable, checkpoint, run
from immunize.defense.terms import Contrast
from immunize.models import Clip, whole
from immunize.threats import Ball

METHOD = Method((Contrast("attacked"),), PGD(Ball("linf", 4 / 255), steps=1, objective="infonce"))
TRAINING = Training(steps=12, batch=8, lr=1e-3, warmup=2, log=2, checkpoint=2, average=0.9)
CHECKPOINTS, FILES = 5, 4  # a run's checkpoints, of two renamings but for the first; the files of its final save
SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_survival import serve
serve(*sys.argv[2:])
"""
Moment = tuple[str, float]


def moments(seed: int) -> list[Moment]:
    """Five of the ten moments: in time, as a share of an undisturbed run's, or which write (and how far in), which renaming."""
    draw = random.Random(seed)
    timed: list[Moment] = [("time", draw.uniform(0.02, 0.98)) for _ in range(3)]
    renamings = 2 * CHECKPOINTS - 1
    if seed % 2:
        return [*timed, ("put", draw.uniform(0, CHECKPOINTS)), ("replace", renamings + draw.randrange(1, FILES))]
    return [*timed, ("put", CHECKPOINTS + draw.uniform(0, FILES)), ("replace", draw.randrange(1, renamings))]


def serve(first: str, world: str, seed: str) -> None:
    """For each moment: a run in a folder of its own that is killed then, and the same run again; prints how they ended."""
    torch.set_num_threads(1)
    pairs, ended = Pairs.read(Path(world), "train", 32), []

    def work() -> None:
        run("mat", models.load(first), pairs, METHOD, TRAINING, Path("out"))

    begin = time.monotonic()
    assert _end(_start(f"undisturbed-{seed}", work)) == 0
    whole_time = time.monotonic() - begin
    for index, (kind, point) in enumerate(moments(int(seed))):
        folder, status = f"killed-{seed}-{index}", 0
        while status != -signal.SIGKILL:  # a run that is over before its moment comes is run again
            child = _start(folder, work if kind == "time" else lambda k=kind, p=point: _dying(k, p, work))
            if kind == "time":
                time.sleep(point * whole_time)
                os.kill(child, signal.SIGKILL)
                point *= 0.8
            status = _end(child)
        left = sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
        ended.append([kind, left, _end(_start(folder, work))])
    print(json.dumps(ended))


def _start(folder: str, work: Callable[[], None]) -> int:
    """The process id of a fork that does the work in its own folder."""
    Path(folder).mkdir(exist_ok=True)
    if child := os.fork():
        return child
    os.chdir(folder)
    work()
    os._exit(0)


def _end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _dying(kind: str, point: float, work: Callable[[], None]) -> None:
    """Work that kills itself in write number int(point) when that share of the file is written, or before a renaming."""
    acts: list[Path] = []
    honest = whole.put

    def put(path: Path, content: bytes | memoryview) -> None:
        if len(acts) == int(point):
            path.write_bytes(content[: int(len(content) * (point % 1))])
            os.kill(os.getpid(), signal.SIGKILL)
        acts.append(path)
        honest(path, content)

    rename = os.replace

    def replace(one: Path, two: Path) -> None:
        if len(acts) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        acts.append(two)
        rename(one, two)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "put", put) if kind == "put" else patch.setattr(os, "replace", replace)
        work()


@pytest.mark.slow
def test_ten_kills_are_resumed_to_the_bytes_of_the_undisturbed_run(
    fresh_model: Clip, world: Path, tmp_path: Path
) -> None:
    models.save(fresh_model, tmp_path / "first")
    command = [sys.executable, "-c", SERVER, __file__, str(tmp_path / "first"), str(world)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    servers = [
        subprocess.Popen(
            [*command, str(seed)], cwd=tmp_path, env={**environment, "PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in range(2)
    ]  # fmt: skip
    try:
        said = [server.communicate() for server in servers]
    finally:
        for server in servers:
            server.kill()
    assert [server.returncode for server in servers] == [0, 0], said
    expected = checkpoint.contents(tmp_path / "undisturbed-0/out")
    assert sorted(path.name for path in (tmp_path / "undisturbed-0/out").iterdir()) == [
        "log.json", "model.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    kills = 0
    for seed, (out, _) in enumerate(said):
        for index, (kind, left, status) in enumerate(json.loads(out)):
            kills += 1
            assert status == 0, (seed, index, kind, left)
            assert checkpoint.contents(tmp_path / f"killed-{seed}-{index}/out") == expected, (seed, index, kind, left)
            assert not list((tmp_path / f"killed-{seed}-{index}").glob(".cache/train/*")), (seed, index, kind, left)
            assert kind == "time" or any(name.endswith(".partial") for name in left)  # it did die in the middle
    assert kills == 10 and checkpoint.contents(tmp_path / "undisturbed-1/out") == expected


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(defense, "SCRATCH", tmp_path / "scratch")
    return tmp_path / "scratch"


def test_a_disk_that_fills_up_in_a_checkpoint_or_the_final_save(
    fresh_model: Clip, pairs: Pairs, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error; the last good state stands; and with room again the end is that of a disk that was never full."""
    models.save(fresh_model, tmp_path / "first")
    run("mat", models.load(tmp_path / "first"), pairs, METHOD, TRAINING, tmp_path / "undisturbed")
    honest = whole.put
    for full, kept in ((3, 4), (CHECKPOINTS + 2, 10)):  # the third checkpoint, the second of the final files
        written: list[Path] = []

        def put(path: Path, content: bytes | memoryview, full: int = full, written: list[Path] = written) -> None:
            written.append(path)
            honest(path, content[: len(content) // 2] if len(written) == full else content)
            if len(written) == full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(whole, "put", put)
        with pytest.raises(
            NotWritten, match=r"cannot be written \(No space left on device\): make room.* run the same"
        ):
            run("mat", models.load(tmp_path / "first"), pairs, METHOD, TRAINING, tmp_path / f"full-{full}")
        monkeypatch.setattr(whole, "put", honest)
        assert not list((tmp_path / f"full-{full}").iterdir())
        (state,) = scratch.glob("*/state.pt")
        assert (checkpoint._read(state) or {})["step"] == kept and not list(scratch.glob("*/*.partial"))
        run("mat", models.load(tmp_path / "first"), pairs, METHOD, TRAINING, tmp_path / f"full-{full}")
        assert checkpoint.contents(tmp_path / f"full-{full}") == checkpoint.contents(tmp_path / "undisturbed")


def test_an_output_that_cannot_be_written_is_told_before_the_first_step(
    fresh_model: Clip, pairs: Pairs, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Method, "loss", lambda *_: pytest.fail("a step was made"))
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(NotWritten, match=r"out cannot be written \(File exists\)"):
        run("mat", fresh_model, pairs, METHOD, TRAINING, tmp_path / "out")
    scratch.write_text("in the way")
    with pytest.raises(NotWritten, match=r"scratch.* cannot be written \(Not a directory\)"):
        run("mat", fresh_model, pairs, METHOD, TRAINING, tmp_path / "other")


def test_a_corrupt_checkpoint_is_told_and_the_run_ends_as_undisturbed(
    fresh_model: Clip, pairs: Pairs, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A loss that is no number at step 7 ends a run; its states of steps 4 and 6 are kept; then one is broken, then both."""
    models.save(fresh_model, tmp_path / "first")
    run("mat", models.load(tmp_path / "first"), pairs, METHOD, TRAINING, tmp_path / "undisturbed")
    honest, calls = Method.loss, []

    def poisoned(self: Method, *given: object) -> torch.Tensor:
        calls.append(1)
        return honest(self, *given) * (float("nan") if len(calls) == 7 else 1.0)  # type: ignore[arg-type]

    def attempt() -> None:
        run("mat", models.load(tmp_path / "first"), pairs, METHOD, TRAINING, tmp_path / "out")

    with monkeypatch.context() as patch:
        patch.setattr(Method, "loss", poisoned)
        with pytest.raises(Diverged, match=r"step 7: lower `lr`.*kept in .*state\.pt"):
            attempt()
    latest, previous = (next(scratch.glob(f"*/{name}")) for name in ("state.pt", "state.previous.pt"))
    good = previous.read_bytes()
    latest.write_bytes(latest.read_bytes()[:-1])
    previous.write_bytes(good[:-1])
    with pytest.raises(Unreadable, match=r"state\.pt and .*state\.previous\.pt.*delete"):
        attempt()
    previous.write_bytes(good)
    attempt()
    assert "state.pt is corrupt; training goes on from step 4 of state.previous.pt" in capsys.readouterr().err
    assert checkpoint.contents(tmp_path / "out") == checkpoint.contents(tmp_path / "undisturbed")
