"""Pictures that look alike: at the edge of each limit, across splits only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from immunize.data.validation.duplicates import Looks, nearly_same, same_content


def table(*splits: str | None) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(len(splits))], "split": splits})


@pytest.mark.parametrize(
    ("hashes", "levels", "alike"),
    [
        (("0000000000000000", "000000000000000f"), (0, 4), True),
        (("0000000000000000", "000000000000001f"), (0, 4), False),
        (("8000000000000000", "7000000000000000"), (0, 4), True),
        (("0000000000000000", "000000000000000f"), (0, 5), False),
        (("0000000000000000", "000000000000000f"), (250, 255), False),
        (("", "0000000000000000"), (0, 0), False),
    ],
)
def test_four_bits_and_four_levels_may_differ(hashes: tuple[str, str], levels: tuple[int, int], alike: bool) -> None:
    thumbnails = np.array([[level] * 192 for level in levels], dtype=np.uint8)
    found = nearly_same(table("train", "test"), Looks(hashes, thumbnails), bits=4, levels=4.0)
    assert found.tolist() == (["i1", "i0"] if alike else [None, None])


def test_only_other_splits_count() -> None:
    images = table("train", "train", "test", None)
    looks = Looks(["0" * 16] * 4, np.zeros((4, 192), dtype=np.uint8))
    assert nearly_same(images, looks, 0, 0.0).tolist()[2:] == ["i1", None]
    assert same_content(images, ["a", "b", "b", "b"]).tolist() == [None, "i2", "i1", None]
    assert same_content(images, ["", "", "", ""]).tolist() == [None] * 4


def test_calibration_may_look_like_validation_but_not_like_test() -> None:
    looks = Looks(["0" * 16] * 2, np.zeros((2, 192), dtype=np.uint8))
    assert nearly_same(table("calibration", "validation"), looks, 0, 0.0).tolist() == [None, None]
    assert nearly_same(table("calibration", "test"), looks, 0, 0.0).tolist() == ["i1", "i0"]
