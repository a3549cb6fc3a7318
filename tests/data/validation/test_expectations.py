"""Plant a fault, and the expectation that names it must catch it; the healthy tables pass every one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from immunize.data import Scenes
from immunize.data.collect import collect
from immunize.data.decode import Square
from immunize.data.record import Record, Records, Rejection
from immunize.data.shards import IMAGES, PAIRS, REJECTED, shard_paths, write
from immunize.data.validation import Thresholds, ValidationFailed, validate
from immunize.data.validation.expectations import of_files, of_tables

Rows = list[dict[str, Any]]
Listing = Callable[[Sequence[Record | Rejection]], Records]


def edit(path: Path, change: Callable[[Rows], object]) -> None:
    """Change the rows of a table in place."""
    rows = pq.read_table(path).to_pylist()
    change(rows)
    schema = PAIRS if path.stem == "pairs" else REJECTED if path.stem == "rejected" else IMAGES
    write(path, rows, schema)


def pairs(change: Callable[[Rows], object]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "pairs.parquet", change)


def images(change: Callable[[Rows], object]) -> Callable[[Path], None]:
    return lambda folder: edit(shard_paths(folder)[0], change)


def rejected(change: Callable[[Rows], object]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "rejected.parquet", change)


def put(column: str, value: Any, row: int = 0) -> Callable[[Rows], object]:
    return lambda rows: rows[row].update({column: value})


def repaint(row: int, paint: Callable[[Image.Image, Rows], Image.Image]) -> Callable[[Rows], object]:
    """Give an image other pixels, with hashes that fit them."""

    def change(rows: Rows) -> None:
        image = paint(Image.open(io.BytesIO(rows[row]["image"])), rows)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        square = Square(image, buffer.getvalue())
        rows[row].update(image=square.encoded, sha256=square.sha256, dhash=square.dhash)

    return change


def nearly(_: Image.Image, rows: Rows) -> Image.Image:
    """The training image i0, a little brighter and compressed: another file, the same picture."""
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(rows[0]["image"]))).enhance(1.01).save(
        buffer, "JPEG", quality=90, subsampling=0
    )
    return Image.open(buffer).convert("RGB")


def drop_column(folder: Path) -> None:
    path = folder / "pairs.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["facts"]), path)


def add_column(folder: Path) -> None:
    path = shard_paths(folder)[1]
    table = pq.read_table(path)
    pq.write_table(table.append_column("extra", table["split"]), path)


# Rows 0-3 are the training images i0..i3, row 4 is validation, row 5 is test; three captions each.
FAULTS: list[tuple[str, Callable[[Path], None]]] = [
    ("columns_exact", drop_column),
    ("columns_exact", add_column),
    ("pairs_image_id_present", pairs(put("image_id", None))),
    ("pairs_caption_id_present", pairs(put("caption_id", None))),
    ("pairs_caption_present", pairs(put("caption", None))),
    ("pairs_split_present", pairs(put("split", None))),
    ("images_image_id_present", images(put("image_id", None))),
    ("images_split_present", images(put("split", None))),
    ("caption_id_unique", pairs(put("caption_id", "i0#1"))),
    ("image_id_unique", images(put("image_id", "i1"))),
    ("pairs_split_known", pairs(put("split", "dev"))),
    ("images_split_known", images(put("split", "dev"))),
    ("image_exists", pairs(put("image_id", "i99"))),
    ("split_agrees", pairs(put("split", "test"))),
    ("caption_length", pairs(put("caption", "d" * 301))),
    ("caption_length", pairs(put("caption", "d"))),
    ("caption_characters", pairs(put("caption", "a \x07 bell"))),
    ("caption_characters", pairs(put("caption", "two  spaces"))),
    ("caption_words", pairs(lambda rows: [row.update(caption=f"x1 2y {k}") for k, row in enumerate(rows[:2])])),
    ("caption_ascii", pairs(lambda rows: [row.update(caption=f"собака {k}") for k, row in enumerate(rows[:2])])),
    ("caption_repeats", pairs(lambda rows: [row.update(caption="a dog") for row in rows[:4]])),
    ("image_intact", images(put("image", b"no image"))),
    ("image_intact", images(put("sha256", "0" * 64))),
    ("image_intact", images(put("dhash", None))),
    ("facts_readable", images(put("facts", "{broken"))),
    ("image_size", images(repaint(0, lambda image, _: image.resize((31, 32))))),
    ("image_contrast", images(repaint(0, lambda image, _: Image.new("RGB", image.size, "gray")))),
    ("captions_per_image", pairs(lambda rows: rows.__delitem__(slice(0, 3)))),
    ("content_in_one_split", images(repaint(4, lambda _, rows: Image.open(io.BytesIO(rows[0]["image"]))))),
    ("near_duplicates_across_splits", images(repaint(4, nearly))),
    ("images_per_split", lambda folder: [edit(p, without_test) for p in shard_paths(folder)] and None),
    ("rejected_share", rejected(lambda rows: rows.append(dict.fromkeys(REJECTED.names, "x") | {"caption_id": None}))),
    ("rejected_share", rejected(lambda rows: rows.extend([dict.fromkeys(REJECTED.names, "x")] * 5))),
]


def without_test(rows: Rows) -> None:
    rows[:] = [row for row in rows if row["split"] != "test"]


def failing(folder: Path, out: Path, **limits: Any) -> set[str]:
    """Names of the expectations that do not hold, whether or not they stop the pipeline."""
    try:
        validate(folder, out, Thresholds(**limits))
    except ValidationFailed as error:
        assert "critical expectations fail" in str(error)
    record = json.loads((out / "validation.json").read_text())
    return {name for name, outcome in record["expectations"].items() if not outcome["success"]}


@pytest.mark.parametrize(("name", "plant"), FAULTS, ids=[f"{name}-{k}" for k, (name, _) in enumerate(FAULTS)])
def test_a_planted_fault_is_caught_by_the_expectation_that_names_it(
    tables: Path, tmp_path: Path, name: str, plant: Callable[[Path], None]
) -> None:
    plant(tables)
    assert name in failing(tables, tmp_path / "v")


def test_every_expectation_has_a_fault() -> None:
    asked = {e.name for e in of_files() + of_tables(Thresholds(), "32x32")}
    assert asked == {name for name, _ in FAULTS} | {"caption_true"}


def test_healthy_tables_pass_with_the_same_bytes_twice(tables: Path, tmp_path: Path) -> None:
    outcomes = validate(tables, tmp_path / "one", Thresholds(size=32))
    assert all(outcome.success and not outcome.unexpected for outcome in outcomes)
    assert len(outcomes) == len({outcome.name for outcome in outcomes}) >= 25
    validate(tables, tmp_path / "two", Thresholds(size=32))
    for name in ("validation.json", "validation.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("scenes") / "collect"
    source = Scenes({"train": 6, "validation": 2, "test": 2}, size=32, captions=2, seed=1)
    collect(source, folder, size=32, max_characters=300, max_rejected=0.0)
    yield folder


def test_an_untrue_caption_of_a_scene_is_found_and_named(scenes: Path, tmp_path: Path) -> None:
    assert failing(scenes, tmp_path / "v", near_duplicates=1.0) == set()
    rows = pq.read_table(scenes / "pairs.parquet").to_pylist()
    facts = pq.read_table(shard_paths(scenes)[0], columns=["facts"])["facts"].to_pylist()
    unlike = next(k for k, text in enumerate(facts) if "star" not in text)
    edit(scenes / "pairs.parquet", put("caption", "a star", 2 * unlike))
    with pytest.raises(ValidationFailed, match=rf"caption_true .*: 1 rows, {rows[2 * unlike]['caption_id']}"):
        validate(scenes, tmp_path / "v", Thresholds(near_duplicates=1.0))


def test_a_failure_names_its_rows_and_writes_both_files_first(tables: Path, tmp_path: Path) -> None:
    pairs(put("caption", "a \x07 bell", 7))(tables)
    with pytest.raises(ValidationFailed, match=r"caption_characters .*: 1 rows, i2#1: control_characters"):
        validate(tables, tmp_path / "v", Thresholds())
    assert json.loads((tmp_path / "v" / "validation.json").read_text())["success"] is False
    assert "i2#1: control_characters" in (tmp_path / "v" / "validation.html").read_text()


def test_a_warning_is_reported_but_stops_nothing(tables: Path, tmp_path: Path) -> None:
    pairs(put("split", "test"))(tables)
    outcomes = validate(tables, tmp_path / "v", Thresholds(warnings=("split_agrees",)))
    (failed,) = (outcome for outcome in outcomes if not outcome.success)
    assert (failed.name, failed.severity, failed.examples) == ("split_agrees", "warning", ("i0#0",))


def test_an_unknown_warning_is_an_error(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['splitagrees'\]; there are .*'split_agrees'"):
        validate(tables, tmp_path / "v", Thresholds(warnings=("splitagrees",)))


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(tables: Path, tmp_path: Path) -> None:
    pairs(put("split", "<script>alert(1)</script>"))(tables)
    failing(tables, tmp_path / "v")
    page = (tmp_path / "v" / "validation.html").read_text()
    assert "&lt;script&gt;" in page and "<script" not in page
    assert not any(word in page for word in ("http:", "https:", "src=", "@import"))


def test_near_duplicates_are_found_as_a_plain_loop_finds_them(
    tmp_path: Path, healthy: list[Record], listed: Listing
) -> None:
    rng = np.random.default_rng(0)

    def noisy(k: int) -> Image.Image:
        source = np.asarray(healthy[k % 12].image).astype(int)
        return Image.fromarray((source + rng.integers(-6, 7, source.shape)).clip(0, 255).astype(np.uint8))

    copies = [replace(healthy[k], image_id=f"n{k}", image=noisy(k), split="test") for k in range(0, 12, 2)]
    collect(listed([*healthy, *copies]), tmp_path / "c", size=32, max_characters=60, max_rejected=0.0)
    rows = [row for path in shard_paths(tmp_path / "c") for row in pq.read_table(path).to_pylist()]
    expected = {
        one["image_id"]
        for one in rows
        for other in rows
        if "train" != one["split"] != other["split"]
        and (int(one["dhash"], 16) ^ int(other["dhash"], 16)).bit_count() <= 4
    }
    limits = Thresholds(near_duplicate_levels=255.0, warnings=("near_duplicates_across_splits", "caption_repeats"))
    outcomes = {outcome.name: outcome for outcome in validate(tmp_path / "c", tmp_path / "v", limits)}
    found = {example.split(":")[0] for example in outcomes["near_duplicates_across_splits"].examples}
    assert found == expected and len(found) >= 4
