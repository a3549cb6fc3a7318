"""First weights: the same for a seed, in every process; a pretrained trunk from a local file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from immunize.config import ConfigurationError, dump, parse
from immunize.data.loader import Pairs
from immunize.defense.checkpoint import fingerprint
from immunize.models import Clip, Normalization, language
from immunize.models.initial import Initial, Small
from immunize.threats import Edits

WEIGHTS = Path(os.environ.get("IMMUNIZE_DATA", "../shared/data")) / "weights" / "mobilenetv2_100.safetensors"

ELSEWHERE = """
import hashlib, json, sys, torch
from immunize.config import dump, parse
from immunize.defense.checkpoint import fingerprint
from immunize.models import language
from immunize.models.initial import Small
from immunize.threats import Edits
captions, recipe = json.load(sys.stdin)
model = parse(recipe, Small, "here").make(captions, 3)
torch.manual_seed(0)
words = language.fresh(captions, vocabulary=120, width=32, layers=1, length=32)
tokenizers = [model.tokenizer.tokenizer.to_str(), words.tokenizer.backend_tokenizer.to_str()]
print(json.dumps([fingerprint(model), fingerprint(words.model), *tokenizers, dump(Edits())]))
"""


def test_another_process_makes_the_same(small: Small, pairs: Pairs) -> None:
    """Tokenizers, weights and dumped settings in two processes with other string hashes: sets and hash tables show."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE],
        input=json.dumps([pairs.captions, dump(small)]), env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    model = small.make(pairs.captions, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = language.fresh(pairs.captions, vocabulary=120, width=32, layers=1, length=32)
    tokenizers = [model.tokenizer.tokenizer.to_str(), words.tokenizer.backend_tokenizer.to_str()]  # type: ignore[attr-defined]
    assert json.loads(done.stdout) == [fingerprint(model), fingerprint(words.model), *tokenizers, dump(Edits())]


def test_the_seed_decides_and_the_global_state_does_not(small: Small, pairs: Pairs) -> None:
    state = torch.get_rng_state()
    first = fingerprint(small.make(pairs.captions, 0))
    torch.manual_seed(99)
    assert fingerprint(small.make(pairs.captions, 0)) == first != fingerprint(small.make(pairs.captions, 1))
    torch.set_rng_state(state)


def test_the_recipe_is_what_comes_out(fresh_model: Clip, small: Small) -> None:
    assert fresh_model.architecture.config["text_cfg"]["vocab_size"] == fresh_model.tokenizer.vocabulary <= 201  # type: ignore[attr-defined]
    assert fresh_model.architecture.trunk == small.trunk and fresh_model.net.visual.trunk.num_features == 16
    assert fresh_model.eval().encode_image(torch.rand(1, 3, 32, 32)).shape == (1, 16)


def test_a_trunk_from_a_file(small: Small, pairs: Pairs, tmp_path: Path) -> None:
    trunk = timm.create_model("resnet10t", num_classes=7, channels=[8, 8, 16, 16])
    weights = {name: value.contiguous() for name, value in trunk.state_dict().items()}
    save_file(weights, tmp_path / "ok.safetensors")
    model = replace(small, trunk_weights=str(tmp_path / "ok.safetensors")).make(pairs.captions, 0)
    assert all(torch.equal(value, weights[name]) for name, value in model.net.visual.trunk.state_dict().items())
    save_file({**weights, "other.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the vision tower: missing \[\], unknown \['other"):
        replace(small, trunk_weights=str(tmp_path / "more.safetensors")).make(pairs.captions, 0)
    save_file({k: v for k, v in weights.items() if "layer4" not in k}, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match=r"missing \['layer4"):
        replace(small, trunk_weights=str(tmp_path / "less.safetensors")).make(pairs.captions, 0)


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"{WEIGHTS} is not here; set IMMUNIZE_DATA")
def test_the_real_mobilenet(small: Small, pairs: Pairs) -> None:
    """Its features are timm's; without `pad_type` the same weights would give others."""
    recipe = replace(
        small,
        vision={"timm_model_name": "mobilenetv2_100", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
        normalization=Normalization(size=64),
        trunk={"pad_type": "same"},
        trunk_weights=str(WEIGHTS),
    )
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = recipe.make(pairs.captions, 0).eval()
    expected: Any = timm.create_model("mobilenetv2_100", checkpoint_path=str(WEIGHTS), pad_type="same").eval()
    plain = replace(recipe, trunk=None).make(pairs.captions, 0).eval()
    with torch.no_grad():
        features = [m.net.get_submodule("visual.trunk")(images * 2 - 1) for m in (model, plain)]
        assert torch.allclose(
            features[0],
            expected.forward_head(expected.forward_features(images * 2 - 1), pre_logits=True),
            atol=1e-4,
            rtol=1e-3,
        )
        assert not torch.allclose(features[1], features[0], atol=1e-2)


def test_the_kind_of_start_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="'published', 'small'"):
        parse({"kind": "large"}, Initial, "here")
