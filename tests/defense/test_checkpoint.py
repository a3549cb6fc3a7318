"""State on disk: whole or not at all, and a broken file starts training anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from immunize.defense import checkpoint

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


@pytest.mark.parametrize("damage", ["half", "empty", "garbage"])
def test_a_broken_file_starts_again_and_says_so(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path, 5, *made(0), [])
    path = tmp_path / checkpoint.STATE
    whole = path.read_bytes()
    path.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "garbage": b"garbage " * 99}[damage])
    model, optimizer = made(1)
    before = checkpoint.fingerprint(model)
    assert checkpoint.resume(tmp_path, model, optimizer) == (0, [])
    assert "state.pt cannot be read" in capsys.readouterr().out and checkpoint.fingerprint(model) == before


def test_the_former_state_stays_until_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 5, *made(0), [])

    def killed(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, 10, *made(2), [])
    assert checkpoint.resume(tmp_path, *made(1))[0] == 5


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
