"""What each augmentation does, by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from immunize.config import ConfigurationError
from immunize.data.augmentation import (
    EDA,
    Caption,
    Crops,
    Human,
    ManyToMany,
    Masked,
    Material,
    Paraphrase,
    RandAugment,
    Render,
    sparse,
)
from immunize.data.augmentation.eda import deleted, substituted, swapped
from immunize.data.augmentation.synonyms import of_scenes
from immunize.data.loader import Pairs
from immunize.data.scenes.lexicon import claims
from immunize.data.scenes.world import Scene
from immunize.metrics.augmentation import share_of_given

WORDS = "a small red ball at the top left".split()
TABLE = [(), ("tiny", "little"), ("crimson",), (), (), (), (), ()]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_sparse_keeps_the_first_captions_and_returns_the_rest(pairs: Pairs) -> None:
    given, rest = sparse(pairs, 1)
    assert given.owner.tolist() == list(range(len(pairs))) and len(given.captions) == len(pairs)
    for i, image_id in enumerate(pairs.image_ids):
        own = [c for c, owner in enumerate(pairs.owner.tolist()) if owner == i]
        assert given.captions[i] == pairs.captions[own[0]]
        assert rest[image_id] == [(pairs.caption_ids[c], pairs.captions[c]) for c in own[1:]]
    assert sparse(pairs, None)[0].hash() == pairs.hash()


@pytest.mark.parametrize("seed", range(20))
def test_the_four_edits_of_eda(seed: int) -> None:
    replaced = substituted(WORDS, TABLE, 2, rng(seed))
    assert [a == b for a, b in zip(WORDS, replaced)] == [True, False, False, *[True] * 5]
    inserted = substituted(WORDS, TABLE, 1, rng(seed), insert=True)
    (extra,) = (Counter(inserted) - Counter(WORDS)).elements()
    assert len(inserted) == 9 and extra in ("tiny", "little", "crimson")
    moved = swapped(WORDS, 1, rng(seed))
    assert Counter(moved) == Counter(WORDS) and sum(a != b for a, b in zip(WORDS, moved)) == 2
    fewer = deleted(WORDS, 0.5, rng(seed))
    assert fewer and not Counter(fewer) - Counter(WORDS)
    assert len(deleted(WORDS, 1.0, rng(seed))) == 1  # one word always stays
    assert swapped(["ball"], 3, rng(seed)) == ["ball"]


def test_the_share_of_deleted_words_is_what_it_says() -> None:
    left = sum(len(deleted(WORDS, 0.1, rng(seed))) for seed in range(2000))
    assert left / (2000 * len(WORDS)) == pytest.approx(0.9, abs=0.01)


def test_synonyms_of_scenes_claim_the_same() -> None:
    table = of_scenes()
    assert set(table["red"]) == {"crimson", "scarlet", "ruby"} and "the" not in table
    assert all(claims()[word] == claims()[other] for word, others in table.items() for other in others)


def test_a_table_of_synonyms_is_a_file(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("a one\n\n")
    new = EDA(n=4, share=1.0, synonyms=str(path))(material)
    assert any("one" in caption.split() for caption in new.pairs.captions)
    with pytest.raises(ConfigurationError, match=r"absent\.txt does not exist"):
        EDA(synonyms=str(tmp_path / "absent.txt"))(material)


def test_masked_changes_the_share_of_words_it_says(material: Material) -> None:
    new = Masked(n=1, share=0.5, k=3)(material)
    for caption, i in zip(new.pairs.captions, new.pairs.owner.tolist()):
        words = material.pairs.captions[i].split()
        changed = [(a, b) for a, b in zip(words, caption.split()) if a != b]
        assert len(changed) == round(0.5 * len(words))
        assert all(b in (f"{a}0", f"{a}1", f"{a}2") for a, b in changed)


def test_paraphrases_of_photographs_are_synonyms(material: Material) -> None:
    blind = replace(material, pairs=replace(material.pairs, truth=(None,) * len(material.pairs)))
    new = Paraphrase(n=1, share=0.2)(blind)
    assert all(any(word[-1].isdigit() for word in caption.split()) for caption in new.pairs.captions)


def test_human_gives_the_captions_left_out(material: Material, pairs: Pairs) -> None:
    new = Human()(material)
    assert set(new.pairs.captions) == {caption for rest in material.rest.values() for _, caption in rest if rest} & set(
        pairs.captions
    )
    with pytest.raises(ConfigurationError, match="lower `augment: captions`"):
        Human()(replace(material, rest={}))


def test_the_captioner_sees_the_images(material: Material) -> None:
    new = Caption(n=2, weights="given")(material)
    assert len(new.pairs.captions) == 2 * len(material.pairs) and new.caption_from[:2] == (new.pairs.image_ids[0],) * 2
    mean = material.pairs.images[0].float().mean().item()
    assert new.pairs.captions[0] == f"brightness {mean:.2f} told 0 3"


@pytest.mark.parametrize(
    ("kind", "without", "says"),
    [
        (Masked(), {"propose": None}, "run the stage language first"),
        (EDA(synonyms="language"), {"propose": None}, "run the stage language first"),
        (Caption(weights="x"), {"describe": None}, "a captioner must be given"),
        (Render(weights="x"), {"paint": None}, "a generator must be given"),
    ],
)
def test_a_missing_tool_is_named(material: Material, kind: Masked, without: dict[str, None], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"augment: augmentations: kind .*{says}"):
        kind(replace(material, **without))


@pytest.mark.parametrize("kind", [Caption(), Render()])
def test_without_a_truth_weights_are_asked_for(material: Material, kind: Caption) -> None:
    blind = replace(material, pairs=replace(material.pairs, truth=(None,) * len(material.pairs)))
    with pytest.raises(ConfigurationError, match="set `weights` to a local"):
        kind(blind)


def test_render_draws_other_pictures_of_the_same_claims(material: Material) -> None:
    new = Render(n=3)(material)
    places = {image_id: i for i, image_id in enumerate(material.pairs.image_ids)}
    assert not any(
        torch.equal(image, material.pairs.images[places[origin]])
        for image, origin in zip(new.pairs.images, new.image_from)
    )
    grounds = {Scene.from_json(t or "").ground for t in new.pairs.truth}
    assert grounds == {"plain", "striped", "dotted", "checkered"}


def test_nothing_is_done_at_no_magnitude(material: Material) -> None:
    """A crop of the whole at one size is the picture itself, but for the sides' ratio: its mean stays near."""
    new = Crops(n=1, least=1.0)(material)
    old = material.pairs.images.float().mean((1, 2, 3))
    assert (new.pairs.images.float().mean((1, 2, 3)) - old).abs().max() < 12
    strong, weak = (RandAugment(n=1, operations=4, magnitude=m)(material).pairs.images for m in (30, 0))
    change = [(images.float() - material.pairs.images.float()).abs().mean() for images in (weak, strong)]
    assert change[0] < change[1]


@pytest.mark.parametrize("original", [0.25, 0.4, 0.5, 0.8])
@pytest.mark.parametrize("order", ["both", "text", "image"])
def test_the_share_of_original_pairs_is_exact(material: Material, original: float, order: str) -> None:
    kind = ManyToMany(text=Caption(n=2), image=Render(n=4), original=original, order=order)
    new = kind(material)
    drawn = share_of_given(material.pairs, new)
    assert drawn == pytest.approx(original, abs=1 / len(material.pairs))
    assert set(new.pairs.captions).isdisjoint(material.pairs.captions)
    each = Counter(new.image_from)
    most = [each[image_id] for image_id in material.pairs.image_ids]
    assert max(most) - min(most) <= 1  # no item is favored


def test_too_few_new_images_for_the_share(material: Material) -> None:
    with pytest.raises(ConfigurationError, match=r"original: 0.1 asks for 360 new images, 40 were made; n: 9"):
        ManyToMany(text=Caption(), image=Crops(n=1), original=0.1)(material)
