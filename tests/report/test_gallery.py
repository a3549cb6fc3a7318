"""The gallery: the right images, the right words, the true difference."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from immunize.evaluation.results import ResultError, read
from immunize.report.gallery import Example, changes, examples, magnified


def shown(root: Path, count: int = 5) -> list[Example]:
    results = [read(root / f"reports/toy/results/mat/{attack}.json") for attack in ("joint", "clean")]
    return examples(results[0], results[1], root, count)


def test_evenly_spaced_examples_with_their_places(run: Path) -> None:
    found = shown(run)
    assert [e.image_id for e in found] == [f"image-{i:02d}" for i in (0, 4, 8, 12, 16)]
    joint, clean = (read(run / f"reports/toy/results/mat/{a}.json") for a in ("joint", "clean"))
    expected = [(clean.image_rank[i] + 1, joint.image_rank[i] + 1) for i in (0, 4, 8, 12, 16)]
    assert [e.image_place for e in found] == expected
    assert found[1].caption_place == (clean.caption_rank[8] + 1, joint.caption_rank[8] + 1)
    assert abs(found[0].adversarial.astype(int) - found[0].clean).max() == 4


def test_changed_words() -> None:
    before, after = changes("a red circle on sand", "a crimson circle is on sadn")
    assert [w for w, changed in before if changed] == ["red", "sand"]
    assert [w for w, changed in after if changed] == ["crimson", "is", "sadn"]
    assert not any(changed for _, changed in changes("same words", "same words")[0])


def test_magnified_difference(run: Path) -> None:
    found = shown(run)
    factor, pictures = magnified(found)
    assert factor == 31
    expected = 128 + 31 * (found[2].adversarial.astype(int) - found[2].clean)
    assert np.array_equal(pictures[2], expected)
    untouched = replace(found[0], adversarial=found[0].clean)
    assert (magnified([untouched])[1][0] == 128).all()


def test_small_images_are_enlarged_without_blur(written: Path) -> None:
    picture = np.asarray(Image.open(written / "reports/toy/figures/gallery_mat.png").convert("RGB"))
    first = shown(written)[0].clean
    corner = picture[56 : 56 + 168, :168]
    assert set(map(tuple, corner.reshape(-1, 3))) == set(map(tuple, first.reshape(-1, 3)))


def test_what_does_not_fit_is_named(run: Path, tmp_path: Path) -> None:
    root = shutil.copytree(run, tmp_path / "root")
    (root / "data/toy/collect/images/images-00000.parquet").unlink()
    with pytest.raises(ResultError, match="image-00 is not among the collected"):
        shown(root)
    shutil.rmtree(root / "reports/toy/adversarial")
    assert shown(root) == []


def test_examples_come_from_what_was_kept(run: Path, tmp_path: Path) -> None:
    root = shutil.copytree(run, tmp_path / "root")
    path = root / "reports/toy/adversarial/mat/joint/images.parquet"
    pq.write_table(pq.read_table(path).slice(0, 7), path)
    assert [e.image_id for e in shown(root, 3)] == ["image-00", "image-02", "image-04"]


def test_sizes_must_agree(run: Path, tmp_path: Path) -> None:
    root = shutil.copytree(run, tmp_path / "root")
    path = root / "reports/toy/adversarial/mat/joint/images.parquet"
    table = pq.read_table(path).to_pandas()
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    table.at[0, "image"] = (tmp_path / "small.png").read_bytes()
    table.to_parquet(path)
    with pytest.raises(ResultError, match=r"image-00 is \(32, 32, 3\) collected and \(8, 8, 3\) attacked"):
        shown(root)
