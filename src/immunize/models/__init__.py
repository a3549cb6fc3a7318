"""Image-text models behind one protocol: pixels in [0, 1], unit embeddings, the normalization inside."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from immunize.models.clip import Architecture, Clip, build
from immunize.models.device import best
from immunize.models.dual_encoder import DualEncoder
from immunize.models.pixels import Normalization
from immunize.models.published import PREFIX, published
from immunize.models.storage import digest, save
from immunize.models.storage import read as _read

__all__ = ["Architecture", "Clip", "DualEncoder", "Normalization", "build", "digest", "load", "published", "save"]


if TYPE_CHECKING:
    Loaded = Clip  # nearly always, and what is trained has to be one
else:
    Loaded = DualEncoder


def load(name: str | Path) -> Loaded:
    """`open_clip:<architecture>/<tag>` from open_clip, anything else a folder that `save` wrote; in evaluation mode,
    on the first CUDA device where there is one.

    A folder with <kind>.json, <kind> being an entry point of the group `immunize.models`, is read by that: what comes back
    then is some DualEncoder, an `adapted` model say, and not a Clip that could be trained.
    """
    text = str(name)
    for kind in entry_points(group="immunize.models"):
        if (Path(name) / f"{kind.name}.json").exists():
            return cast(Clip, kind.load()(Path(name)))
    model = published(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else _read(Path(name))
    return model.to(best())
