"""What every augmentation promises, over the whole union: a new one is tested by having a case here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from immunize.config import dump, parse
from immunize.data.augmentation import Augmentation, Derived, Material, write_pairs
from immunize.data.loader import Pairs
from immunize.data.scenes.truth import is_true

GIVEN = "given as a function"
DOCS = Path(__file__).parents[3] / "docs" / "methods" / "augmentation.md"
CASES: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "eda": {"kind": "eda", "n": 3},
    "eda by language": {"kind": "eda", "n": 2, "synonyms": "language", "share": 0.3},
    "paraphrase": {"kind": "paraphrase", "n": 2},
    "masked": {"kind": "masked", "n": 2},
    "human": {"kind": "human"},
    "caption": {"kind": "caption", "n": 2},
    "captioner": {"kind": "caption", "n": 2, "weights": GIVEN},
    "randaugment": {"kind": "randaugment", "n": 2},
    "crops": {"kind": "crops", "n": 1},
    "render": {"kind": "render", "n": 2},
    "painter": {"kind": "render", "n": 1, "weights": GIVEN},
} | {
    f"{text} and {image}, {order}": {
        "kind": "many_to_many", "text": {"kind": text}, "image": {"kind": image}, "order": order, "original": 0.4,
    }
    for text, image, order in (("caption", "render", "both"), ("eda", "render", "text"), ("caption", "crops", "image"),
                               ("human", "randaugment", "image"), ("paraphrase", "randaugment", "text"))
}  # fmt: skip
TRUE = ("paraphrase", "human", "caption", "render")  # what these make is true of the image, exactly
FIXED = ("none", "human")  # nothing is drawn
cases = pytest.mark.parametrize("name", CASES)


def made(name: str, material: Material) -> Derived:
    return parse(CASES[name], Augmentation, "here")(material)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_kind_has_a_case_and_a_place_in_the_docs() -> None:
    members = get_args(get_args(Augmentation)[0])
    kinds = {kind for member in members for kind in get_args(get_type_hints(member)["kind"])}
    assert kinds == {case["kind"] for case in CASES.values()}
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in DOCS.read_text()] == []


@cases
def test_it_is_its_own_configuration(name: str) -> None:
    augmentation = parse(CASES[name], Augmentation, "here")
    assert parse(dump(augmentation), Augmentation, "here") == augmentation
    assert dump(augmentation)["kind"] == CASES[name]["kind"]


@cases
def test_the_same_given_the_same_and_nothing_else_is_touched(name: str, material: Material) -> None:
    before, torch_state, numpy_state = material.pairs.hash(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, second = made(name, material), made(name, material)
    assert first.pairs.hash() == second.pairs.hash()
    assert (first.pairs.image_ids, first.pairs.caption_ids) == (second.pairs.image_ids, second.pairs.caption_ids)
    assert material.pairs.hash() == before
    assert torch.equal(torch.get_rng_state(), torch_state) and np.random.get_state()[1].tolist() == numpy_state
    other = made(name, replace(material, seed=4))
    assert (other.pairs.hash() == first.pairs.hash()) == (name in FIXED)


@cases
def test_ids_are_new_and_origins_are_given(name: str, material: Material) -> None:
    new, pairs = made(name, material), material.pairs
    ids = new.pairs.caption_ids
    assert len(set(ids)) == len(ids) and len(set(new.pairs.image_ids)) == len(new.pairs.image_ids)
    assert not set(ids) & set(pairs.caption_ids)
    assert new.pairs.image_ids == pairs.image_ids or not set(new.pairs.image_ids) & set(pairs.image_ids)
    assert set(new.image_from) <= set(pairs.image_ids)
    known = {*pairs.caption_ids, *pairs.image_ids, *(i for rest in material.rest.values() for i, _ in rest)}
    assert set(new.caption_from) <= known
    assert len(new.image_from) == len(new.pairs) and len(new.caption_from) == len(ids)


@cases
def test_it_makes_something_of_nearly_every_item(name: str, material: Material) -> None:
    new = made(name, material)
    told = {new.image_from[i] for i in new.pairs.owner.tolist()}
    assert len(told) >= 0.9 * len(material.pairs) * (name != "none")
    assert new.pairs.images.dtype == torch.uint8 and new.pairs.images.shape[1:] == material.pairs.images.shape[1:]
    assert new.pairs.owner.tolist() == sorted(new.pairs.owner.tolist())
    assert all(caption == " ".join(caption.split()) and caption for caption in new.pairs.captions)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] != "many_to_many"])
def test_what_becomes_of_an_item_does_not_depend_on_its_company(name: str, material: Material) -> None:
    alone = made(name, replace(material, pairs=material.pairs.head(7)))
    among = made(name, material)
    captions = dict(zip(among.pairs.caption_ids, among.pairs.captions))
    images = dict(zip(among.pairs.image_ids, among.pairs.images))
    assert [captions[i] for i in alone.pairs.caption_ids] == list(alone.pairs.captions)
    assert all(torch.equal(images[i], image) for i, image in zip(alone.pairs.image_ids, alone.pairs.images))


@pytest.mark.parametrize("name", TRUE)
def test_what_must_be_true_is(name: str, material: Material) -> None:
    new = made(name, material)
    scenes = [new.pairs.truth[i] for i in new.pairs.owner.tolist()]
    assert new.known and all(scene and is_true(caption, scene) for caption, scene in zip(new.pairs.captions, scenes))


@cases
def test_what_is_written_is_read_as_pairs_with_its_origins(
    name: str, material: Material, world: Path, tmp_path: Path
) -> None:
    new, given = made(name, material), material.pairs
    for folder in ("a", "b"):
        write_pairs(tmp_path / folder, world, given, new, {"alignment": 1.0}, shard_images=16)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    pairs = Pairs.read(tmp_path / "a", "train")
    wanted = {(i, t) for i, t in zip(given.caption_ids, given.captions)}
    wanted |= set(zip(new.pairs.caption_ids, new.pairs.captions))
    assert set(zip(pairs.caption_ids, pairs.captions)) == wanted and len(pairs.captions) == len(wanted)
    pixels = dict(zip(pairs.image_ids, pairs.images))
    for source in (given, new.pairs):
        assert all(torch.equal(pixels[i], image) for i, image in zip(source.image_ids, source.images))
    truth = dict(zip(pairs.image_ids, pairs.truth))
    assert all(
        json.loads(truth[i] or "0") == json.loads(t or "0") for i, t in zip(new.pairs.image_ids, new.pairs.truth)
    )
    made_of = dict(zip(given.image_ids, given.image_ids)) | dict(zip(new.pairs.image_ids, new.image_from))
    number = [*range(len(pairs))] if pairs.item is None else pairs.item.tolist()
    assert len({*zip(number, (made_of[i] for i in pairs.image_ids))}) == len({*number}) == len(given)
    rows = pq.read_table(tmp_path / "a" / "pairs.parquet").to_pylist()
    origins = {r["caption_id"]: json.loads(r["facts"])["augmented"]["from"] for r in rows if "augmented" in r["facts"]}
    assert origins == dict(zip(new.pairs.caption_ids, new.caption_from))
    assert json.loads((tmp_path / "a" / "measures.json").read_text()) == {"alignment": 1.0}
