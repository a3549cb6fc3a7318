"""What learns: the last blocks by name, and low-rank additions that end as plain weights."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from immunize import models
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, train
from immunize.defense.terms import Contrast
from immunize.defense.trainable import LastBlocks, LoRA, LowRank, Prompts, learning, learnt
from immunize.models import Architecture, Clip, Normalization, build

TRAINING = Training(steps=3, batch=8, lr=1e-2, warmup=1)


def names(model: Clip, trains: LastBlocks) -> set[str]:
    chosen = {id(p) for p in learnt(model, trains)}
    return {name for name, p in model.named_parameters() if id(p) in chosen}


def test_the_last_stage_and_block_with_what_follows(small: object, fresh_model: Clip) -> None:
    found = names(fresh_model, LastBlocks(1))
    prefixes = ("net.visual.trunk.layer4.", "net.visual.head.", "net.transformer.resblocks.0.", "net.ln_final.")
    singles = {"net.text_projection", "net.logit_scale"}
    assert found == {n for n, _ in fresh_model.named_parameters() if n.startswith(prefixes)} | singles
    assert names(fresh_model, LastBlocks(0)) == {n for n in found if "layer4" not in n and "resblocks" not in n}
    text = names(fresh_model, LastBlocks(1, "text"))
    assert text == {n for n in found if "trunk" not in n}
    assert names(fresh_model, LastBlocks(1, "vision")) == {n for n in found if "visual" in n}


def test_of_transformers_on_both_sides() -> None:
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 16},
              "text_cfg": {"width": 32, "heads": 2, "layers": 2}}  # fmt: skip
    model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer())
    found = names(model, LastBlocks(2))
    assert {n.split(".resblocks.")[1][0] for n in found if "visual.transformer" in n} == {"1", "2"}
    assert {n.split(".resblocks.")[1][0] for n in found if n.startswith("net.transformer")} == {"0", "1"}
    rest = {n for n in found if "resblocks" not in n}
    assert rest == {
        "net.visual.ln_post.weight", "net.visual.ln_post.bias", "net.visual.proj", "net.ln_final.weight",
        "net.ln_final.bias", "net.text_projection", "net.logit_scale",
    }  # fmt: skip


def test_a_tower_without_blocks_says_so() -> None:
    config = {"embed_dim": 8, "vision_cfg": {"timm_model_name": "vgg11", "timm_pool": "avg", "image_size": 32},
              "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    with torch.device("meta"):
        model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer())
    with pytest.raises(ValueError, match="the vision tower has no blocks that are known"):
        learnt(model, LastBlocks(1))


def test_low_rank_starts_from_the_model_itself_and_adds_a_product(fresh_model: Clip, pairs: Pairs) -> None:
    batch = pairs.batch(torch.arange(4))
    fresh_model.eval()
    before = fresh_model.encode_image(batch.images), fresh_model.encode_text(fresh_model.tokenize(batch.captions))
    weight = fresh_model.net.visual.head.proj.weight.detach().clone()
    with learning(fresh_model, LoRA(rank=2, alpha=6.0, where=("head.proj", "attn.in_proj", "layer4"))) as parameters:
        again = fresh_model.encode_image(batch.images), fresh_model.encode_text(fresh_model.tokenize(batch.captions))
        assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))
        added = [m for m in fresh_model.modules() if isinstance(m, LowRank)]
        assert len(parameters) == 2 * len(added) and {p for p in fresh_model.parameters() if p.requires_grad} == {
            *parameters
        }
        low = fresh_model.net.visual.head.proj.parametrizations.weight[0]
        with torch.no_grad():
            low.up.normal_(generator=torch.Generator().manual_seed(0))
        expected = weight + 3.0 * low.up.detach() @ low.down.detach()
    assert torch.allclose(fresh_model.net.visual.head.proj.weight, expected, atol=1e-6)
    assert all(p.requires_grad for p in fresh_model.parameters())


def test_what_low_rank_leaves_is_an_ordinary_model(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    """Saved and read back; matrices that were named moved by a matrix of that rank, and nothing else did."""
    before = {n: p.detach().clone() for n, p in fresh_model.named_parameters()}
    method = Method((Contrast(),), trains=LoRA(rank=1, where=("c_fc.weight", "head.proj")))
    list(train(fresh_model, pairs, method, TRAINING, tmp_path / "run"))
    moved = {n: p - before[n] for n, p in fresh_model.named_parameters() if not torch.equal(p, before[n])}
    assert moved.keys() == {n for n in before if "c_fc.weight" in n or "head.proj" in n} and len(moved) == 2
    assert all(torch.linalg.matrix_rank(change, rtol=1e-3) == 1 for change in moved.values())
    models.save(fresh_model, tmp_path / "model")
    again = models.load(str(tmp_path / "model"))
    batch = pairs.batch(torch.arange(4))
    assert torch.equal(again.encode_image(batch.images), fresh_model.encode_image(batch.images))


def test_low_rank_is_taken_off_where_training_breaks(fresh_model: Clip) -> None:
    keys = list(fresh_model.state_dict())
    with pytest.raises(KeyboardInterrupt), learning(fresh_model, LoRA()):
        raise KeyboardInterrupt
    assert sorted(fresh_model.state_dict()) == sorted(keys) and not fresh_model.training
    with pytest.raises(
        ValueError, match=r"trains.where: no matrix of this model is named \('nose',\); there are .*c_fc"
    ):
        learning(fresh_model, LoRA(where=("nose",))).__enter__()


def test_prompts_learn_alone_and_stay_in_the_model(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    """Saved and read back with the rest, which has not moved; the inside of the picture has no frame."""
    before = {n: p.detach().clone() for n, p in fresh_model.named_parameters()}
    method = Method((Contrast(),), trains=Prompts(frame=3, words=2))
    list(train(fresh_model, pairs, method, TRAINING, tmp_path / "run"))
    after = dict(fresh_model.named_parameters())
    assert after.keys() - before.keys() == {"prompt.visual", "prompt.text"}
    assert all(torch.equal(after[n], p) for n, p in before.items())
    frame = after["prompt.visual"].detach()
    assert frame[:, :3].any() and frame[:, :, -3:].any() and not frame[:, 3:-3, 3:-3].any()
    assert after["prompt.text"].shape == (2, 32)
    models.save(fresh_model, tmp_path / "model")
    again, batch = models.load(str(tmp_path / "model")), pairs.batch(torch.arange(4))
    assert torch.equal(again.encode_image(batch.images), fresh_model.encode_image(batch.images))
    tokens = again.tokenize(batch.captions)
    assert torch.equal(again.encode_text(tokens), fresh_model.encode_text(tokens))
    assert again.prompt is not None and not torch.equal(frame, torch.zeros_like(frame))
    again.prompt = None
    assert not torch.equal(again.encode_text(tokens), fresh_model.encode_text(tokens))
    assert not torch.equal(again.encode_image(batch.images), fresh_model.encode_image(batch.images))
    assert {id(p) for p in learnt(fresh_model, "both")} == {id(p) for n, p in after.items() if n in before}


def test_prompts_go_on_from_those_of_the_model(fresh_model: Clip) -> None:
    Prompts(frame=2).give(fresh_model)
    kept = fresh_model.prompt
    with learning(fresh_model, Prompts(frame=2)) as parameters:
        assert fresh_model.prompt is kept and [p.shape for p in parameters] == [(3, 32, 32)]
    with pytest.raises(ValueError, match=r"the model has one already, .*frame=2, words=0"):
        learning(fresh_model, Prompts(frame=3)).__enter__()
    with pytest.raises(ValueError, match="set `frame` or `words`"):
        Prompts()


def test_words_need_a_tower_that_takes_them(fresh_model: Clip) -> None:
    with pytest.raises(ValueError, match="words: 60 leave no room for a caption among the 48 places"):
        Prompts(words=60).give(fresh_model)
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
              "text_cfg": {"width": 32, "heads": 2, "layers": 1}, "custom_text": True}  # fmt: skip
    model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer())
    with pytest.raises(ValueError, match="CustomTextCLIP takes no token vectors"):
        Prompts(words=2).give(model)
    Prompts(frame=2).give(model)
