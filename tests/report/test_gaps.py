"""Paired differences, worked by hand and held against a bootstrap that knows nothing of pairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from immunize.evaluation.results import ResultError, read_all
from immunize.metrics.interval import wilson
from immunize.report.gaps import gaps, main, table


@pytest.fixture
def folder(run: Path) -> Path:
    return run / "reports/toy/results"


def test_by_hand(folder: Path) -> None:
    """MAT keeps 4 of 10 under `image`, fine-tuning 1: 30 points; all of MAT's images are right where fine-tuning's are."""
    results = read_all(folder)
    image, caption = gaps(results["mat"]["image"], results["finetune"]["image"], 1)
    assert (image.mean, caption.mean) == (30.0, 30.0) and 0 not in image.interval
    back, _ = gaps(results["finetune"]["image"], results["mat"]["image"], 1)
    assert (back.mean, back.interval.low, back.interval.high) == (-30.0, -image.interval.high, -image.interval.low)


def test_the_interval_is_of_the_pairs(folder: Path) -> None:
    """Two defenses that are right on the same images have no gap at all, though each has an interval of its own."""
    one = read_all(folder)["mat"]["image"]
    same, _ = gaps(one, replace(one, defense="other"), 1)
    assert (same.mean, same.interval.low, same.interval.high) == (0.0, -wilson(0, 20).high, wilson(0, 20).high)
    assert 0 in same.interval  # twenty images alike are no proof that all are
    flipped, _ = gaps(one, replace(one, image_rank=one.image_rank[::-1]), 1)
    ahead = np.array([a < 1 for a in one.image_rank], float) - np.array([a < 1 for a in one.image_rank[::-1]], float)
    draws = np.random.default_rng(0).choice(ahead, size=(20_000, len(ahead))).mean(axis=1) * 100
    low, high = np.quantile(draws, (0.025, 0.975))
    assert flipped.interval.low == pytest.approx(low, abs=5) and flipped.interval.high == pytest.approx(high, abs=5)


def test_captions_of_an_image_are_one_draw(folder: Path) -> None:
    """Where an image's captions fare as it does, they say no more than it does: the interval is no narrower."""
    results = read_all(folder)
    found = [replace(one, caption_rank=[rank for rank in one.image_rank for _ in range(2)])
             for one in (results["mat"]["image"], results["finetune"]["image"])]  # fmt: skip
    image, caption = gaps(*found, 1)
    assert image == caption and image.interval.low < image.mean < image.interval.high


def test_other_examples_are_refused(folder: Path) -> None:
    results = read_all(folder)
    with pytest.raises(ResultError, match="mat and finetune under image were not asked the same"):
        gaps(results["mat"]["image"], results["finetune"]["square"], 1)
    wider = replace(results["finetune"]["image"], config={"kind": "image", "steps": 20, "threat": {"eps": 4 / 255}})
    with pytest.raises(ResultError, match="were not asked the same"):
        gaps(results["mat"]["image"], wider, 1)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder), "--of", "mat", "--k", "1", "10"])
    printed = capsys.readouterr().out
    assert printed == "\n".join(table(read_all(folder), "mat", k) for k in (1, 10)) + "\n"
    assert "| MAT (image and text) over | Clean | Image | Text | Joint | Worst of all |" in printed
    assert "| Fine-tuned | " in printed and "**+30.0 (" in printed and "Points of R@10" in printed
    with pytest.raises(SystemExit):
        main([str(folder), "--of", "nobody"])
    assert "no results of 'nobody'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(folder), "--of", "mat", "--k", "0"])
    assert "R@0 is nothing" in capsys.readouterr().err
