"""State on disk: whole or not at all, the former one beside it, and never a broken one taken for a good one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from immunize.defense import checkpoint
from immunize.models import whole

Stack = tuple[nn.Linear, torch.optim.Optimizer]


def made(seed: int) -> Stack:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return model, optimizer


def test_model_optimizer_and_records_come_back(tmp_path: Path) -> None:
    records = [{"step": 5, "loss": 0.25}]
    checkpoint.save(tmp_path / "run", 5, *made(0), records)
    model, optimizer = made(1)
    assert checkpoint.resume(tmp_path / "run", model, optimizer) == (5, records)
    expected, other = made(0)
    assert checkpoint.fingerprint(model) == checkpoint.fingerprint(expected)
    state = optimizer.state_dict()["state"][0]
    assert torch.equal(state["exp_avg"], other.state_dict()["state"][0]["exp_avg"]) and state["step"] == 3
    checkpoint.forget(tmp_path / "run")
    assert checkpoint.resume(tmp_path / "run", model, optimizer) == (0, [])


DAMAGE = {
    "half": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"garbage " * 99,
    "one bit": lambda whole: (
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
    ),
}


def damage(path: Path, how: str) -> None:
    path.write_bytes(DAMAGE[how](path.read_bytes()))


@pytest.mark.parametrize("how", DAMAGE)
def test_a_corrupt_state_is_told_and_the_one_before_it_serves(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path, 5, *made(0), [{"step": 5}])
    checkpoint.save(tmp_path, 10, *made(2), [{"step": 5}, {"step": 10}])
    damage(tmp_path / checkpoint.STATE, how)
    model, optimizer = made(1)
    assert checkpoint.resume(tmp_path, model, optimizer) == (5, [{"step": 5}])
    assert checkpoint.fingerprint(model) == checkpoint.fingerprint(made(0)[0])
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{tmp_path / 'state.pt'} is corrupt; training goes on from step 5 of state.previous.pt"]
    assert checkpoint.resume(tmp_path, *made(1))[0] == 5 and not capsys.readouterr().err
    checkpoint.save(tmp_path, 10, *made(2), [])
    damage(tmp_path / checkpoint.STATE, how)
    assert checkpoint.resume(tmp_path, *made(1))[0] == 5  # the corrupt one never took the good one's place


@pytest.mark.parametrize("saves", [1, 2])
def test_with_no_good_state_left_it_stops_and_says_what_to_do(saves: int, tmp_path: Path) -> None:
    for step in range(saves):
        checkpoint.save(tmp_path, step, *made(0), [])
    for path in tmp_path.iterdir():
        damage(path, "one bit")
    model, optimizer = made(1)
    before, kept = checkpoint.fingerprint(model), sorted(tmp_path.iterdir())
    for _ in range(2):  # the second time as well
        with pytest.raises(
            checkpoint.Unreadable, match=r"state\.pt.*no good state.*from a copy, or delete .* first step"
        ):
            checkpoint.resume(tmp_path, model, optimizer)
    assert checkpoint.fingerprint(model) == before and sorted(tmp_path.iterdir()) == kept and len(kept) == saves


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, *made(0), [])
    other = nn.Linear(4, 2)
    with pytest.raises(checkpoint.Unreadable, match=r"does not fit this run .*size mismatch.*delete"):
        checkpoint.resume(tmp_path, other, torch.optim.AdamW(other.parameters()))


def test_the_former_states_stay_until_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 5, *made(0), [])
    checkpoint.save(tmp_path, 10, *made(2), [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, content: memoryview) -> None:
        path.write_bytes(content[:99])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole, "put", full)
    with pytest.raises(whole.NotWritten, match=r"No space left on device.*make room"):
        checkpoint.save(tmp_path, 15, *made(3), [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_folder_is_named_by_everything_that_decides_the_run(tmp_path: Path) -> None:
    one = checkpoint.place(tmp_path, "mat", {"lr": 1, "steps": 2}, "hash")
    assert one == checkpoint.place(tmp_path, "mat", {"steps": 2, "lr": 1}, "hash") and one.parent == tmp_path
    others = [("tecoa", {"lr": 1, "steps": 2}, "hash"), ("mat", {"lr": 2, "steps": 2}, "hash"), ("mat", {}, "other")]
    assert len({one, *(checkpoint.place(tmp_path, *parts) for parts in others)}) == 4


def test_the_fingerprint_sees_one_bit() -> None:
    model, _ = made(0)
    before = checkpoint.fingerprint(model)
    with torch.no_grad():
        model.weight[0, 0] = torch.nextafter(model.weight[0, 0], torch.tensor(9.0))
    assert checkpoint.fingerprint(model) != before
