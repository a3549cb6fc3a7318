"""A prompt at the inputs: a frame by hand, and words before the caption against texts that really have them."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import Tensor

from immunize.models import Architecture, Clip, Normalization, build
from immunize.models.causal import causal_text
from immunize.models.prompt import PromptSize, shortened

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 2}
CAPTIONS = ["a dog", "a dog runs", "a cat runs over grass", "a dog"]
WORDS = "photo of green"


def model(**text: object) -> Clip:
    """A small open_clip model whose prompt has the vectors of three true words."""
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": {**TEXT, **text}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer(context_length=16)).eval()
    made.give_prompt(PromptSize(frame=4, words=3))
    assert made.prompt is not None and made.prompt.text is not None and made.prompt.visual is not None
    ids = made.tokenizer([WORDS])[:, 1:4]
    with torch.no_grad():
        made.prompt.text.copy_(made.embed_tokens(ids)[0])
        made.prompt.visual.fill_(0.5)
    return made


def plain(made: Clip) -> Clip:
    """The same without its prompt."""
    bare = build(made.architecture, made.tokenizer).eval()
    bare.net.load_state_dict(made.net.state_dict())
    return bare


@pytest.mark.parametrize("text", [{}, {"no_causal_mask": True}])
def test_words_before_a_caption_are_those_words(text: dict[str, object]) -> None:
    made = model(**text)
    tokens, longer = made.tokenize(CAPTIONS), plain(made).tokenize([f"{WORDS} {caption}" for caption in CAPTIONS])
    assert tokens.shape[1] + 3 == longer.shape[1]
    expected = plain(made).encode_text(longer)
    assert torch.allclose(made.encode_text(tokens), expected, atol=1e-6)
    assert torch.allclose(made.encode_text(tokens, made.embed_tokens(tokens)), expected, atol=1e-6)
    assert made.prompt is not None
    shared = causal_text(made.net, tokens, context=made.prompt.text)  # each beginning once, the prompt among them
    assert torch.allclose(torch.nn.functional.normalize(shared, dim=-1), expected, atol=1e-6)


def test_the_prompts_gradient_is_the_same_by_either_way() -> None:
    made = model()
    tokens = made.tokenize(CAPTIONS)
    assert made.prompt is not None and made.prompt.text is not None

    def gradient(embedded: Tensor | None) -> Tensor:
        value = causal_text(made.net, tokens, embedded, made.prompt.text).square().sum()  # type: ignore[union-attr]
        return torch.autograd.grad(value, made.prompt.text)[0]  # type: ignore[union-attr, arg-type]

    assert torch.allclose(gradient(None), gradient(made.embed_tokens(tokens)), atol=1e-5)
    assert gradient(None).any(dim=1).all()


def test_a_caption_is_cut_where_the_prompt_takes_its_room() -> None:
    made = model()
    tokens = made.tokenize(["dog " * 30])
    assert tokens.shape == (1, 13) and tokens[0, -1] == tokens.max() and made.encode_text(tokens).isfinite().all()
    rows = torch.tensor([[1, 5, 6, 9, 0], [1, 5, 6, 7, 9], [1, 9, 0, 0, 0]])
    assert shortened(rows, 4).tolist() == [[1, 5, 6, 9], [1, 5, 6, 9], [1, 9, 0, 0]]
    assert shortened(rows, 5) is rows


def test_a_frame_is_added_to_the_edge_after_the_normalization() -> None:
    made = model()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = (images - 0.5) / 0.5
    expected[:, :, 4:28, 4:28] -= 0.5
    assert torch.allclose(made.seen(images), expected + 0.5, atol=1e-6)
    whole, _ = made.encode_places(images)
    assert torch.allclose(made.encode_image(images), whole, atol=1e-5)
    assert not torch.allclose(whole, plain(made).encode_image(images), atol=1e-3)
