"""Any open_clip model as a DualEncoder: a published architecture, or the small one of an offline preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import open_clip
import timm
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from immunize.batch import Embedding, Image
from immunize.config import frozen
from immunize.models.causal import causal_text
from immunize.models.pixels import Normalization, Pixels
from immunize.models.places import places_of
from immunize.models.prompt import Prompt, PromptSize, shortened

Tokenize = Callable[[Sequence[str]], Int[Tensor, "c l"]]
MAX_LOGIT_SCALE = 100.0


@frozen
class Architecture:
    """An open_clip model configuration, the preprocessing, and what open_clip cannot say.

    config: `embed_dim`, `vision_cfg`, `text_cfg` as open_clip spells them. trunk: arguments for timm's create_model that
    open_clip does not pass on (`pad_type`). frozen_statistics: batch norm keeps its running statistics in training.
    """

    config: Mapping[str, Any]
    normalization: Normalization
    trunk: Mapping[str, Any] | None = None
    frozen_statistics: bool = False


class Clip(nn.Module):
    """f(x), g(t) on the unit sphere; pixels in [0, 1], the normalization inside; `prompt`: what was learnt at the inputs."""

    prompt: Prompt | None
    net: Any  # one of open_clip's model classes, which share no type

    def __init__(self, architecture: Architecture, net: nn.Module, tokenizer: Tokenize) -> None:
        nn.Module.__init__(self)
        self.architecture = architecture
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions twice as fast
        self.pixels = Pixels(architecture.normalization)
        self.tokenizer = tokenizer
        self.prompt = None

    def give_prompt(self, size: PromptSize, seed: int = 0) -> None:
        """A new prompt at the inputs. Raises ValueError for words where the text tower takes no vectors or has no room."""
        width = 0
        if size.words and not isinstance(self.net, open_clip.CLIP):
            raise ValueError(
                f"words: {type(self.net).__name__} takes no token vectors; use open_clip's CLIP class, or 0"
            )
        if size.words:
            room, width = self.net.positional_embedding.shape
            if size.words > room - 3:
                raise ValueError(
                    f"words: {size.words} leave no room for a caption among the {room} places of the tower"
                )
        rng = torch.Generator().manual_seed(seed)
        self.prompt = Prompt(size, self.resolution, width, rng).to(self.device)

    @property
    def resolution(self) -> int:
        return self.architecture.normalization.size

    @property
    def trunk(self) -> nn.Module:
        """The vision tower without its projection where they can be told apart (timm), else the whole tower."""
        return getattr(self.net.visual, "trunk", self.net.visual)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        return self.net.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    @property
    def device(self) -> torch.device:
        return self.net.logit_scale.device

    def tokenize(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        tokens = self.tokenizer(list(captions)).to(self.device)
        if not isinstance(self.net, open_clip.CLIP) or not len(tokens):
            return tokens
        if self.prompt is not None and self.prompt.text is not None:  # the prompt's words take of the room
            tokens = shortened(tokens, len(self.net.positional_embedding) - len(self.prompt.text))
        return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]  # the end of text is the largest id

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, those of start and end left out; where the tokenizer can tell (byte pairs, CLIP's own)."""
        tokenizer: Any = self.tokenizer
        return tokenizer.decode(ids)

    def seen(self, images: Image) -> Float[Tensor, "b 3 size size"]:
        """What the vision tower is given: resized, normalized, and framed where there is a frame."""
        pixels = self.pixels(images)
        return pixels if self.prompt is None else self.prompt.framed(pixels)

    def encode_image(self, images: Image) -> Embedding:
        return normalize(self.net.visual(self.seen(images)).float(), dim=-1)

    def encode_places(self, images: Image) -> tuple[Embedding, Float[Tensor, "b p d"]]:
        """f(x), and f at each place of the last map, in one pass: patches of a transformer, cells of a convolution.

        Raises NotImplementedError for a tower that shows no map in the space of its embedding.
        """
        whole, places = places_of(self.net.visual, self.seen(images))
        return normalize(whole.float(), dim=-1), normalize(places.float(), dim=-1)

    def encode_text(self, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None = None) -> Embedding:
        if not isinstance(self.net, open_clip.CLIP):
            if embedded is not None:
                raise NotImplementedError(
                    f"{type(self.net).__name__} takes no token vectors; use open_clip's CLIP class"
                )
            return normalize(self.net.encode_text(tokens).float(), dim=-1)
        context = None if self.prompt is None else self.prompt.text
        return normalize(causal_text(self.net, tokens, embedded, context).float(), dim=-1)

    def embed_tokens(self, tokens: Int[Tensor, "c l"]) -> Float[Tensor, "c l w"]:
        return self.net.get_submodule("token_embedding")(tokens)

    def train(self, mode: bool = True) -> Clip:
        nn.Module.train(self, mode)
        if self.architecture.frozen_statistics:
            for module in self.net.visual.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def build(architecture: Architecture, tokenizer: Tokenize) -> Clip:
    """The architecture with fresh weights from torch's current seed; nothing is downloaded."""
    config = {"vision_cfg": {}, "text_cfg": {}, **architecture.config}
    custom = config.pop("custom_text", False)
    net = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    if architecture.trunk:
        name = config["vision_cfg"]["timm_model_name"]
        net.visual.trunk = timm.create_model(name, num_classes=0, **architecture.trunk)
        net.visual.head.proj = nn.Linear(net.visual.trunk.num_features, config["embed_dim"], bias=False)
    return Clip(architecture, net, tokenizer)


def load_trunk(model: Clip, path: str) -> None:
    """Vision weights from a local safetensors file of timm names; only a classifier head may be left over."""
    trunk = model.net.visual.trunk
    weights = {name: value.float() for name, value in load_file(path).items()}
    missing, surplus = trunk.load_state_dict(weights, strict=False)
    foreign = [name for name in surplus if not name.startswith(("classifier.", "fc.", "head."))]
    if missing or foreign:
        raise ValueError(f"{path} does not fit the vision tower: missing {missing[:3]}, unknown {foreign[:3]}")
