"""The small captioner: it learns its pairs, samples by the generator alone, and batches and the disk change nothing."""

from __future__ import annotations

import math
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Generator

from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.models import Architecture, Clip, Normalization, build, captioner, prefix_decoder
from immunize.models.captioner import Captioner
from immunize.models.prefix_captioner import PrefixCaptioner
from immunize.models.prefix_decoder import Size, nucleus
from immunize.models.teacher_forcing import fit

SIZE = Size(width=32, layers=1, dropout=0.0)


@pytest.fixture(scope="module")
def eight(pairs: Pairs) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Eight images with their first captions."""
    first = torch.searchsorted(pairs.owner, torch.arange(8)).tolist()
    return pairs.images[:8], tuple(pairs.captions[c] for c in first)


def fresh(clip: Clip, size: Size = SIZE) -> PrefixCaptioner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PrefixCaptioner(clip, size)


@pytest.fixture(scope="module")
def learnt(trained: Clip, eight: tuple[torch.Tensor, tuple[str, ...]]) -> PrefixCaptioner:
    model = fresh(trained)
    images, captions = eight
    records = list(fit(model, images, list(enumerate(captions)), steps=250, batch=8, lr=1e-2, seed=0))
    assert [record["step"] for record in records] == [*range(20, 250, 20), 250]
    assert records[-1]["loss"] < 0.05 < records[0]["loss"]
    return model


def greedy(model: PrefixCaptioner, images: torch.Tensor) -> list[tuple[str, ...]]:
    model.p = 0.0
    told = model.describe(images, 1, seed=0)
    model.p = 0.9
    return told


def test_eight_pairs_are_learnt_by_heart(learnt: PrefixCaptioner, eight: tuple[torch.Tensor, tuple[str, ...]]) -> None:
    assert isinstance(learnt, Captioner)
    told = [caption for (caption,) in greedy(learnt, eight[0])]
    assert all(caption.startswith(one) for caption, one in zip(eight[1], told, strict=True))
    assert sum(caption == one for caption, one in zip(eight[1], told)) >= 5  # the others are longer than the context
    assert torch.equal(learnt.clip.tokenize(told), learnt.clip.tokenize(eight[1]))


def test_all_at_once_is_one_at_a_time(learnt: PrefixCaptioner, held_out: Pairs) -> None:
    """Captions that end at different places: by the cache and in blocks as token by token without either."""
    model, together = learnt, greedy(learnt, held_out.images[:7])
    model.block = 1
    assert greedy(model, held_out.images[:7]) == together and len({len(caption.split()) for (caption,) in together}) > 1
    model.block = 256
    decoder, seen = model.decoder.eval(), model.see(held_out.images[:7])
    ids = [[decoder.vocabulary.start] for _ in range(7)]
    with torch.no_grad():
        for row, one in zip(ids, seen):
            while len(row) < decoder.vocabulary.context and row[-1] != decoder.vocabulary.end:
                words = decoder.language.transformer.wte(torch.tensor([row]))
                vectors = torch.cat([decoder.bridge(one[None] * math.sqrt(16)), words], dim=1)
                row.append(int(decoder.language(inputs_embeds=vectors).logits[0, -1].argmax()))
    assert [(" ".join(model.clip.decode(row[1:]).split()),) for row in ids] == together


def test_what_is_sampled_follows_the_generator_alone(learnt: PrefixCaptioner, held_out: Pairs) -> None:
    learnt.temperature, images, state = 2.0, held_out.images[:6], torch.get_rng_state()
    told = learnt.describe(images, 3, seed=1)
    torch.manual_seed(5)
    assert learnt.describe(images, 3, seed=1) == told != learnt.describe(images, 3, seed=2)
    torch.set_rng_state(state)
    assert learnt.describe(images[:4], 3, seed=1) == told[:4]
    learnt.block = 2
    assert learnt.describe(images, 3, seed=1) == told
    assert torch.equal(torch.get_rng_state(), state)
    assert all(1 <= len(set(captions)) == len(captions) <= 3 for captions in told) and len(set(told[0])) > 1
    learnt.temperature, learnt.block = 1.0, 256


@pytest.mark.parametrize("few", [2, 4])
def test_the_nucleus_by_hand(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chances 0.5, 0.3, 0.15, 0.05, kept up to a sum of 0.7: 5/8 and 3/8 of the draws, however many are looked at first."""
    monkeypatch.setattr(prefix_decoder, "FEW", few)
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log().expand(1000, 4)
    draws = (torch.arange(1000) + 0.5) / 1000
    assert nucleus(logits, 0.7, draws).bincount(minlength=4).tolist() == [0, 625, 0, 375]
    assert nucleus(logits, 1.0, draws).bincount(minlength=4).tolist() == [150, 500, 50, 300]
    assert nucleus(logits, 0.0, draws).unique().tolist() == [1]


def test_training_is_seeded_and_leaves_the_tower_alone(
    trained: Clip, eight: tuple[torch.Tensor, tuple[str, ...]]
) -> None:
    before, state = {k: v.clone() for k, v in trained.state_dict().items()}, torch.get_rng_state()
    images, captions = eight
    made = []
    for seed in (0, 0, 1):
        made.append(fresh(trained, Size(width=32, layers=1, dropout=0.2)))
        list(fit(made[-1], images, list(enumerate(captions)), steps=3, batch=4, lr=1e-2, seed=seed))
    first, again, other = (torch.cat([p.flatten() for p in model.decoder.parameters()]) for model in made)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in trained.state_dict().items())


def test_a_saved_one_is_loaded_like_a_published_one(learnt: PrefixCaptioner, pairs: Pairs, tmp_path: Path) -> None:
    learnt.save(tmp_path / "one")
    again = captioner.load(str(tmp_path / "one"))
    assert again.describe(pairs.images[:4], 2, seed=3) == learnt.describe(pairs.images[:4], 2, seed=3)
    assert isinstance(again, PrefixCaptioner)
    again.save(tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 5
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    weights = again.decoder.state_dict()
    assert weights["language.lm_head.weight"].data_ptr() == weights["language.transformer.wte.weight"].data_ptr()


def test_of_a_transformers_patches_the_grid() -> None:
    """CLIP's own tokenizer, and a map of 4 x 4 places averaged to 2 x 2."""
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
              "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    clip = build(Architecture(config, Normalization(size=64)), open_clip.SimpleTokenizer()).eval()
    model = fresh(clip, Size(width=32, layers=1, grid=2))
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=Generator().manual_seed(0))
    seen = model.see(images)
    with torch.no_grad():
        whole, places = clip.encode_places(images.float() / 255)
    assert seen.shape == (3, 5, 8) and torch.allclose(seen[:, 0], whole, atol=1e-6)
    corner = places[:, [0, 1, 4, 5]].mean(dim=1)
    assert torch.allclose(seen[:, 1], corner / corner.norm(dim=-1, keepdim=True), atol=1e-5)
    assert clip.decode(clip.tokenizer(["two dogs run"])[0, 1:4].tolist()).strip() == "two dogs run"
    assert all(len(captions) == 1 for captions in model.describe(images, 1, seed=0))


def test_a_tower_without_a_map_gives_its_embedding(
    trained: Clip, held_out: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Clip, images: torch.Tensor) -> None:
        raise NotImplementedError

    model = fresh(trained)
    monkeypatch.setattr(Clip, "encode_places", refuse)
    assert model.see(held_out.images[:3]).shape == (3, 1, 16)
    assert len(model.describe(held_out.images[:3], 2, seed=0)) == 3


def test_the_folder_of_a_preset_without_one_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="`steps` above 0 in the preset's section `captioner`"):
        captioner.load(str(tmp_path))
