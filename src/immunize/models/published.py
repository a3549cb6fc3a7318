"""A published model by name: `open_clip:ViT-B-32/openai`, or any architecture with weights from a local file."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import open_clip
from open_clip.transformer import QuickGELU

from immunize.models.clip import Architecture, Clip
from immunize.models.pixels import Normalization

PREFIX = "open_clip:"


def published(name: str) -> Clip:
    """`<architecture>/<pretrained tag or file>` (or `hf-hub:<repository>`) as open_clip knows it, in evaluation mode.

    Raises ValueError for an architecture or a tag that open_clip does not have, naming the nearest it has.
    """
    model_name, _, tag = (name, "", "") if name.startswith(("hf-hub:", "local-dir:")) else name.partition("/")
    if ":" not in model_name and open_clip.get_model_config(model_name) is None:
        near = get_close_matches(model_name, open_clip.list_models(), n=5, cutoff=0.3)
        raise ValueError(f"open_clip has no architecture '{model_name}'; the nearest are {near}")
    if tag and not open_clip.is_pretrained_cfg(model_name, tag) and not Path(tag).exists():
        known = open_clip.list_pretrained_tags_by_model(model_name)
        raise ValueError(f"'{tag}' is no file and no weights of {model_name} that open_clip knows: these are {known}")
    net = open_clip.create_model(model_name, pretrained=tag or None)
    config = dict(open_clip.get_model_config(model_name) or {})
    config["quick_gelu"] = any(isinstance(module, QuickGELU) for module in net.modules())
    found = open_clip.get_model_preprocess_cfg(net)
    size = found["size"]
    normalization = Normalization(
        size=size if isinstance(size, int) else size[0],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        interpolation=found.get("interpolation", "bicubic"),
    )
    model = Clip(Architecture(config=config, normalization=normalization), net, open_clip.get_tokenizer(model_name))
    return model.eval()
