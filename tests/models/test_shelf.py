"""Proposals on disk: found again by whoever asks the same model the same thing, whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from immunize.models import language
from immunize.models.language import MaskedLanguage
from immunize.models.shelf import Shelf

FOUND = {"a red ball": ((), ("blue", "green"), ("box",)), "it's naïve": (("that",), ())}


def test_what_was_put_is_found_and_nothing_else(tmp_path: Path) -> None:
    Shelf(tmp_path / "deep" / "shelf").put("one", FOUND)
    again = Shelf(tmp_path / "deep" / "shelf")
    assert again.get("one", [*FOUND, "unknown"]) == FOUND
    assert again.get("other", list(FOUND)) == {} and again.get("one", []) == {}
    again.put("one", {"a red ball": ()})
    assert again.get("one", ["a red ball"]) == {"a red ball": ()}


def test_an_interrupted_put_leaves_nothing_behind(tmp_path: Path) -> None:
    """The second row cannot be written: the first is not there either."""
    shelf = Shelf(tmp_path / "shelf")
    bad: dict[str, tuple[tuple[str, ...], ...]] = {"first": (), "second\ud800": ()}
    with pytest.raises((sqlite3.Error, UnicodeEncodeError)):
        shelf.put("one", bad)
    assert shelf.get("one", ["first"]) == {}


def loaded(folder: str, path: Path) -> MaskedLanguage:
    language.load.cache_clear()
    return language.load(folder, str(path))


def test_a_caption_is_read_once_in_all_processes(
    language_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = ["a red ball at the top", "two shapes"]
    first = loaded(language_folder, tmp_path / "shelf").substitutes(captions, 3)
    again = loaded(language_folder, tmp_path / "shelf")
    monkeypatch.setattr(again.model, "forward", None)  # would raise
    assert again.substitutes(captions, 3) == first
    with pytest.raises(TypeError):
        again.substitutes(captions, 4)  # another question
    with pytest.raises(TypeError):
        again.substitutes(captions, 3, legacy_offset=True)


def test_another_model_finds_nothing(language_folder: str, tmp_path: Path) -> None:
    one, other = loaded(language_folder, tmp_path / "shelf"), loaded(language_folder, tmp_path / "shelf")
    assert one.digest == other.digest
    other.__dict__.pop("digest")
    other.model.cls.predictions.bias.data[7] += 1
    assert one.digest != other.digest
