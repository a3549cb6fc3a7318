"""The expectations by name: what must hold of which column, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from immunize.config import frozen
from immunize.data.record import SPLITS


@frozen
class Thresholds:
    """What counts as healthy; shares are in 0..1, pixel values in 0..255.

    images: the fewest images a split. size: the side of the images, null for "all the same". Near duplicates: bits of
    the difference hash and levels of the thumbnail that may differ, and the share of held-out images that may look like
    one of another split. odd_captions: the share of captions that may lie below word_share or ascii_share. warnings:
    the expectations that are reported but do not stop the pipeline; all others do.
    """

    images: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("train", "validation", "test"), 1))
    captions_per_image: tuple[int, int] = (1, 10)
    characters: tuple[int, int] = (2, 300)
    size: int | None = None
    min_std: float = 2.0
    near_duplicate_bits: int = 4
    near_duplicate_levels: float = 4.0
    near_duplicates: float = 0.005
    repeated_captions: float = 0.05
    word_share: float = 0.5
    ascii_share: float = 0.8
    odd_captions: float = 0.01
    rejected: float = 0.05
    warnings: tuple[str, ...] = ("caption_words", "caption_ascii", "caption_repeats")


@dataclass(frozen=True, slots=True)
class Expectation:
    """`kind` is a class of great_expectations.expectations about `column`; `says` is the sentence for people."""

    name: str
    table: str
    column: str
    kind: str
    says: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def of_files() -> list[Expectation]:
    """What must hold before anything else can be asked."""
    return [_null("columns_exact", "files", "wrong", "every file has exactly the columns of its schema")]


def of_tables(limits: Thresholds, side: str) -> list[Expectation]:
    """Everything else; `side` is "32x32" where images must have 32 x 32 pixels."""
    return [*_identity(), *_captions(limits), *_images(limits, side), *_amounts(limits)]


def _identity() -> list[Expectation]:
    columns = {"pairs": ("image_id", "caption_id", "caption", "split"), "images": ("image_id", "split")}
    splits = "the split is train, validation, test or calibration"
    return [
        *(
            _present(f"{table}_{column}_present", table, column, f"{column} is never null in {table}")
            for table, names in columns.items()
            for column in names
        ),
        _unique("caption_id_unique", "pairs", "caption_id", "no two captions share an id"),
        _unique("image_id_unique", "images", "image_id", "no two images share an id"),
        _among("pairs_split_known", "pairs", "split", SPLITS, splits),
        _among("images_split_known", "images", "split", SPLITS, splits),
        _present("image_exists", "pairs", "image_split", "the image of a caption is among the images"),
        _among("split_agrees", "pairs", "split_agrees", [True], "a caption is in the split of its image"),
    ]


def _captions(limits: Thresholds) -> list[Expectation]:
    low, high = limits.characters
    odd, repeats = 1 - limits.odd_captions, 1 - limits.repeated_captions
    return [
        _length("caption_length", "pairs", "caption", low, high, f"a caption has {low} to {high} characters"),
        _among("caption_characters", "pairs", "cleaning", ["clean"], "no control characters, no stray white space"),
        _between("caption_words", "pairs", "word_share", limits.word_share, None, "most words are words", odd),
        _between("caption_ascii", "pairs", "ascii_share", limits.ascii_share, None, "most letters are ASCII", odd),
        _among("caption_repeats", "pairs", "repeat", [False], "few captions repeat an earlier one", repeats),
        _among("caption_true", "pairs", "is_true", [True], "a caption is true of its scene, where that is known"),
    ]


def _images(limits: Thresholds, side: str) -> list[Expectation]:
    low, high = limits.captions_per_image
    alike, few = "hardly a held-out picture looks like one of another split", 1 - limits.near_duplicates
    return [
        _among("image_intact", "images", "intact", [True], "an image decodes to the pixels that its hashes say"),
        _among("facts_readable", "images", "facts_readable", [True], "the facts of an image are a JSON object"),
        _among("image_size", "images", "side", [side], f"an image has {side} pixels"),
        _between("image_contrast", "images", "std", limits.min_std, None, "no image is blank"),
        _between("captions_per_image", "images", "captions", low, high, f"an image has {low} to {high} captions"),
        _null("content_in_one_split", "images", "same_content_in", "no picture is in two splits"),
        _null("near_duplicates_across_splits", "held_out", "near_duplicate_of", alike, few),
    ]


def _amounts(limits: Thresholds) -> list[Expectation]:
    return [
        _among("images_per_split", "splits", "lacking", [0], "every split has its fewest number of images"),
        _between("rejected_share", "shares", "rejected", 0, limits.rejected, "little of the source was rejected"),
    ]


def _among(name: str, table: str, column: str, values: Sequence[Any], says: str, mostly: float = 1.0) -> Expectation:
    arguments = {"value_set": list(values), "mostly": mostly}
    return Expectation(name, table, column, "ExpectColumnValuesToBeInSet", says, arguments)


def _between(
    name: str, table: str, column: str, low: int | float, high: int | float | None, says: str, mostly: float = 1.0
) -> Expectation:
    arguments = {"min_value": low, "max_value": high, "mostly": mostly}
    return Expectation(name, table, column, "ExpectColumnValuesToBeBetween", says, arguments)


def _length(name: str, table: str, column: str, low: int, high: int, says: str) -> Expectation:
    arguments = {"min_value": low, "max_value": high}
    return Expectation(name, table, column, "ExpectColumnValueLengthsToBeBetween", says, arguments)


def _null(name: str, table: str, column: str, says: str, mostly: float = 1.0) -> Expectation:
    return Expectation(name, table, column, "ExpectColumnValuesToBeNull", says, {"mostly": mostly})


def _present(name: str, table: str, column: str, says: str) -> Expectation:
    return Expectation(name, table, column, "ExpectColumnValuesToNotBeNull", says)


def _unique(name: str, table: str, column: str, says: str) -> Expectation:
    return Expectation(name, table, column, "ExpectColumnValuesToBeUnique", says)
