"""The text tower that computes each beginning once, against open_clip's own forward pass and its gradients."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import Tensor, nn

from immunize.models import Architecture, Clip, Normalization, build
from immunize.models.beginnings import beginnings
from immunize.models.causal import causal_text

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}
CAPTIONS = ["a dog", "a dog runs", "a cat runs over grass", "a dog runs over grass", "a dog", ""]


def tower(**text: object) -> Clip:
    """A small open_clip model, its text tower changed by `text`, all its weights random."""
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": {**TEXT, **text}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer(context_length=24))
        for parameter in model.net.transformer.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def whole(model: Clip, tokens: Tensor) -> Tensor:
    """open_clip's own pass over every position of the whole context."""
    padded = torch.nn.functional.pad(tokens, (0, 24 - tokens.shape[1]))
    return model.net.encode_text(padded)


@pytest.mark.parametrize(
    "text",
    [{}, {"ls_init_value": 0.5}, {"proj_bias": True}, {"layers": 1}, {"pool_type": "last"}, {"no_causal_mask": True}],
)
def test_values_and_gradients_are_open_clips(text: dict[str, object]) -> None:
    model = tower(**text)
    tokens = model.tokenize(CAPTIONS)
    if text.keys() & {"pool_type", "no_causal_mask"}:  # they look past the end, so nothing may be cut
        tokens = torch.nn.functional.pad(tokens, (0, 24 - tokens.shape[1]))
    parameters = [p for n, p in model.net.named_parameters() if not n.startswith(("visual", "logit"))]
    ours, theirs = causal_text(model.net, tokens), whole(model, tokens)
    assert torch.allclose(ours, theirs, atol=1e-5)
    weight = torch.linspace(-1, 1, ours.numel()).view_as(ours)
    mine, expected = (torch.autograd.grad((y * weight).sum(), parameters) for y in (ours, theirs))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(mine, expected, strict=True))


def test_the_models_own_way_to_an_embedding_shares_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    model, computed = tower(), list[int]()

    def counted(tokens: Tensor, shared: bool) -> object:
        tree = beginnings(tokens, shared=shared)
        computed.append(len(tree.first))
        return tree

    monkeypatch.setattr("immunize.models.causal.beginnings", counted)
    tokens = model.tokenize(["a dog runs", "a dog runs", "a dog sits"])
    model.encode_text(tokens)
    model.encode_text(tokens, model.embed_tokens(tokens))
    assert computed == [7, 15]  # start, a, dog, runs, end, sits, end; with vectors of its own each caption has all five


def test_each_caption_has_a_gradient_of_its_own_where_vectors_are_given() -> None:
    model = tower()
    tokens = model.tokenize(CAPTIONS)
    embedded = model.embed_tokens(tokens).detach().requires_grad_()
    value = causal_text(model.net, tokens, embedded)
    assert torch.allclose(value, whole(model, tokens), atol=1e-5)
    (gradient,) = torch.autograd.grad(value.square().sum(), embedded)
    for row, caption in enumerate(CAPTIONS):
        alone = model.tokenize([caption])
        vectors = model.embed_tokens(alone).detach().requires_grad_()
        (expected,) = torch.autograd.grad(causal_text(model.net, alone, vectors).square().sum(), vectors)
        assert torch.allclose(gradient[row, : alone.shape[1]], expected[0], atol=1e-4)
        assert not gradient[row, alone.shape[1] :].any()


def test_what_two_captions_share_is_computed_once() -> None:
    model, seen = tower(), []
    hook = model.net.transformer.resblocks[0].ln_1.register_forward_hook(lambda *_: seen.append(_[1][0].shape[0]))
    tokens = model.tokenize(CAPTIONS)
    causal_text(model.net, tokens)
    hook.remove()
    assert seen == [len(beginnings(tokens).first)] and seen[0] < int((tokens != 0).sum())
