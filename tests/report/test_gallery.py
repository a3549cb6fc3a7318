"""The gallery: the right images, the right words, the true difference."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from immunize.evaluation.results import ResultError, read, read_all
from immunize.report import picture
from immunize.report.gallery import Example, by_image, changes, examples, magnified


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


def test_a_long_caption_pushes_the_next_row_down(run: Path, tmp_path: Path) -> None:
    """No text over another's: the second image starts below the last line of the first."""
    first, second = shown(run)[:2]
    words = [("lengthy", False)] * 200
    picture.write([replace(first, before=words, after=words), second], tmp_path / "long.png")
    picture.write([first, second], tmp_path / "short.png")
    long, short = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("long", "short"))
    assert short.shape[0] == 56 + 2 * (168 + 24) and long.shape[0] > short.shape[0] + 300
    top = long.shape[0] - (168 + 24)
    assert set(map(tuple, long[top : top + 168, :168, :3].reshape(-1, 3))) == set(
        map(tuple, second.clean.reshape(-1, 3))
    )


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


def test_the_same_images_under_each_attack(run: Path) -> None:
    """Those that every attack kept, evenly spaced; an attack that kept nothing is left out."""
    results = read_all(run / "reports/toy/results")["mat"]
    found = by_image(results, ["square", "image", "joint", "none"], run, count=4)
    assert [[example.attack for example in row] for row in found] == [["square", "joint"]] * 4
    assert [row[0].image_id for row in found] == ["image-00", "image-02", "image-04", "image-06"]
    for row in found:
        assert len({example.image_id for example in row}) == 1
        assert [abs(e.adversarial.astype(int) - e.clean).max() for e in row] == [2, 4]
    at = results["clean"].image_ids.index("image-02")
    assert found[1][0].image_place == (results["clean"].image_rank[at] + 1, results["square"].image_rank[at] + 1)
    assert by_image(results, ["image", "none"], run) == []


def test_sizes_must_agree(run: Path, tmp_path: Path) -> None:
    root = shutil.copytree(run, tmp_path / "root")
    path = root / "reports/toy/adversarial/mat/joint/images.parquet"
    table = pq.read_table(path).to_pandas()
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    table.at[0, "image"] = (tmp_path / "small.png").read_bytes()
    table.to_parquet(path)
    with pytest.raises(ResultError, match=r"image-00 is \(32, 32, 3\) collected and \(8, 8, 3\) attacked"):
        shown(root)
