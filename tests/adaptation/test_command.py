"""Which payoffs the commands fit and judge on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from immunize.adaptation.command import parser, worlds
from immunize.adaptation.payoffs import Payoffs


def test_one_folder_is_halved_and_two_are_taken_whole(invented: Payoffs, tmp_path: Path) -> None:
    other = replace(invented.take(np.arange(10)), correct=np.zeros_like(invented.correct[:10]))
    invented.save(tmp_path / "train")
    other.save(tmp_path / "test")
    asked = parser("command", None)
    scores = ["--scores", *invented.names[:1]]
    train, test = worlds(asked.parse_args([str(tmp_path / "train"), *scores]))
    assert len(train.payoffs) + len(test.payoffs) == len(invented)
    train, test = worlds(asked.parse_args([str(tmp_path / "train"), str(tmp_path / "test"), *scores]))
    assert (train.payoffs.reward == invented.reward).all() and (test.payoffs.reward == other.reward).all()


def test_folders_of_other_regimes_are_refused(invented: Payoffs, tmp_path: Path) -> None:
    invented.save(tmp_path / "train")
    invented.under(invented.regimes[:-1]).save(tmp_path / "test")
    with pytest.raises(ValueError, match=rf"test: regimes .*train has .*{invented.regimes[-1]}"):
        worlds(parser("command", None).parse_args([str(tmp_path / "train"), str(tmp_path / "test")]))
