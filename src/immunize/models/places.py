"""What a vision tower knows of each place of the image, in the space of its embedding."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn


def places_of(
    visual: nn.Module, pixels: Float[Tensor, "b 3 h w"]
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b p d"]]:
    """The tower's output and the projection of each place, from one pass; of an averaging tower the places' mean is it.

    Knows timm's trunks with a projection of their own and open_clip's ViT; raises NotImplementedError for others.
    """
    if isinstance(visual, TimmModel):
        return _timm(visual, pixels)
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        return _transformer(visual, pixels)
    raise NotImplementedError(f"{type(visual).__name__} shows no map of places; use timm's trunks or open_clip's ViT")


def _timm(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    trunk = visual.trunk
    features = trunk.forward_features(pixels)
    whole = visual.head(trunk.forward_head(features))
    cells = features.flatten(2).mT if features.dim() == 4 else features[:, trunk.num_prefix_tokens :]
    if cells.shape[-1] != trunk.num_features or "proj" not in dict(visual.head.named_children()):
        name = type(trunk).__name__
        raise NotImplementedError(f"{name}: what follows its map is no projection of each place; use a linear head")
    return whole, visual.head(cells)


def _transformer(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    found = visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True, output_fmt="NLC")
    places = found["image_intermediates"][-1]
    return found["image_features"], places if visual.proj is None else places @ visual.proj
