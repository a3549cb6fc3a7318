"""What learns: whole towers, their last blocks, or of a model that stays as it is low-rank additions, or prompts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from immunize.config import frozen
from immunize.models import Clip
from immunize.models.prompt import PromptSize

Matrix = Float[Tensor, "out *rest"]
Towers = Literal["both", "vision", "text"]


@frozen
class LastBlocks:
    """The last `count` blocks of the towers with all that comes after them: norms, projections, the temperature.

    Blocks are those of a transformer (`resblocks`, `blocks`), or the stages of a convolutional trunk (`stages`, `layer1`...).
    Raises ValueError for a tower that has none.
    """

    count: Annotated[int, Field(ge=0)]
    towers: Towers = "both"
    kind: Literal["last_blocks"] = "last_blocks"

    def parameters(self, model: Clip) -> list[nn.Parameter]:
        still: set[nn.Parameter] = set()
        halves = {"vision": model.trunk, "text": getattr(model.net, "text", model.net)}
        for name, root in halves.items():
            if self.towers in ("both", name):
                still |= set(_before(root, self.count, name))
        return [p for p in towers(model, self.towers) if p not in still]


@frozen
class LoRA:
    """W + (alpha / rank) B A for each matrix whose name holds one of `where`, B and A learnt, all else as it is.

    arXiv:2106.09685 sec. 4.1: A Gaussian, B 0, so training starts from the model itself. A convolution's kernel is taken
    as a matrix of out x (in * height * width). When training ends the product is added to W: the model is an ordinary one.
    Raises ValueError where no matrix has such a name.
    """

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    where: Annotated[tuple[str, ...], Field(min_length=1)] = ("attn", "mlp", "proj")
    seed: int = 0
    kind: Literal["lora"] = "lora"


@frozen
class Prompts:
    """Vectors at the inputs alone: a frame `frame` pixels wide around the picture (TeCoA's visual prompt, arXiv:2212.07016
    sec. 3), `words` vectors before the caption (CoOp, arXiv:2109.01134 sec. 3.2); 0: none of that kind.

    The weights stay as they are (the running statistics of a batch norm follow the framed pictures unless they are frozen).
    A frame starts at 0, words as noise from `seed`; a prompt that the model has already is trained on. It stays in the model,
    which is saved and read with it. Raises ValueError for a model with a prompt of another size.
    """

    frame: Annotated[int, Field(ge=0)] = 0
    words: Annotated[int, Field(ge=0)] = 0
    seed: int = 0
    kind: Literal["prompts"] = "prompts"

    def __post_init__(self) -> None:
        if not self.frame and not self.words:
            raise ValueError("trains: prompts: neither a frame nor words would learn nothing; set `frame` or `words`")

    def give(self, model: Clip) -> None:
        """The model with a prompt of this size, where it has none."""
        size = PromptSize(self.frame, self.words)
        if model.prompt is None:
            model.give_prompt(size, self.seed)
        elif model.prompt.size != size:
            raise ValueError(f"trains: prompts: the model has one already, {model.prompt.size}; this one is {size}")


Trains = Towers | Annotated[LastBlocks | LoRA | Prompts, Field(discriminator="kind")]


@contextmanager
def learning(model: Clip, trains: Trains) -> Iterator[list[nn.Parameter]]:
    """The parameters that learn, all others frozen; afterwards the model is in evaluation mode, whole and unfrozen."""
    added = _add(model, trains) if isinstance(trains, LoRA) else []
    if isinstance(trains, Prompts):
        trains.give(model)
    parameters = learnt(model, trains)
    for parameter in model.parameters():  # what does not learn costs no backward pass
        parameter.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for module, name in added:
            remove_parametrizations(module, name, leave_parametrized=True)
        model.eval().requires_grad_(True)


def learnt(model: Clip, trains: Trains) -> list[nn.Parameter]:
    """The parameters that learn; of LoRA and prompts those that `learning` has added."""
    if isinstance(trains, LastBlocks):
        return trains.parameters(model)
    if isinstance(trains, LoRA):
        return [p for module in model.modules() if isinstance(module, LowRank) for p in module.parameters()]
    if isinstance(trains, Prompts):
        return [] if model.prompt is None else list(model.prompt.parameters())
    return towers(model, trains)


def towers(model: Clip, which: Towers) -> list[nn.Parameter]:
    """Vision: the tower with its projection. Text: all but the vision trunk, so that tower's projection too. Never a prompt."""
    if which == "vision":
        return list(model.net.visual.parameters())
    still = set(model.trunk.parameters()) if which == "text" else set()
    if model.prompt is not None:
        still |= set(model.prompt.parameters())
    return [parameter for parameter in model.parameters() if parameter not in still]


class LowRank(nn.Module):
    """W -> W + (alpha / rank) B A, as a parametrization of the module that owns W."""

    def __init__(self, weight: Tensor, lora: LoRA, rng: torch.Generator) -> None:
        nn.Module.__init__(self)
        rows, columns = len(weight), weight[0].numel()
        self.scale = lora.alpha / lora.rank
        down = torch.randn(lora.rank, columns, generator=rng) / math.sqrt(columns)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, lora.rank))

    def forward(self, weight: Matrix) -> Matrix:
        return weight + self.scale * (self.up @ self.down).view(weight.shape)


def _add(model: Clip, lora: LoRA) -> list[tuple[nn.Module, str]]:
    rng = torch.Generator().manual_seed(lora.seed)
    names = [n for n, p in model.named_parameters() if p.ndim >= 2 and any(part in n for part in lora.where)]
    if not names:
        known = sorted({n.rpartition(".")[0] for n, p in model.named_parameters() if p.ndim >= 2})
        raise ValueError(f"trains.where: no matrix of this model is named {lora.where}; there are {known}")
    owners = [(model.get_submodule(owner), leaf) for owner, _, leaf in (n.rpartition(".") for n in names)]
    for module, name in owners:
        low_rank = LowRank(getattr(module, name).detach(), lora, rng)
        register_parametrization(module, name, low_rank, unsafe=True)
    return owners


def _before(root: nn.Module, count: int, tower: str) -> Iterator[nn.Parameter]:
    """The parameters of a tower that come before its last `count` blocks: those of earlier children, and its tables."""
    children = [child for name, child in root.named_children() if name != "visual"]
    blocks = _blocks(root, tower)
    first = min(place for place, child in enumerate(children) if any(m is blocks[0] for m in child.modules()))
    earlier = [*children[:first], *blocks[: max(0, len(blocks) - count)]]
    for module in (*earlier, *(child for child in children if isinstance(child, nn.Embedding))):
        yield from module.parameters()
    for name, parameter in root.named_parameters(recurse=False):
        if not re.search(r"proj|scale|bias", name):
            yield parameter


def _blocks(root: nn.Module, tower: str) -> list[nn.Module]:
    named = dict(root.named_children())
    if "transformer" in named:
        return list(named["transformer"].get_submodule("resblocks").children())
    for name in ("blocks", "stages", "layers"):
        if name in named:
            return list(named[name].children())
    stages = [child for name, child in named.items() if re.fullmatch(r"layer\d+", name)]
    if not stages:
        raise ValueError(f"trains.towers: the {tower} tower has no blocks that are known; it has {sorted(named)}")
    return stages
