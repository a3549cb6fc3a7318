"""A small captioner: a vision tower that stays as it is, and a decoder of the tower's own tokens that learns to tell of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d

from immunize.batch import Image
from immunize.config import dump, parse
from immunize.models import storage
from immunize.models.clip import Clip
from immunize.models.device import best
from immunize.models.prefix_decoder import Prefix, PrefixDecoder, Size, Vocabulary

WEIGHTS, DESCRIPTION, ENCODER = "captioner.safetensors", "captioner.json", "encoder"
TIED = "language.lm_head.weight"  # the same matrix as the token embedding


class PrefixCaptioner:
    """Captions sampled from p(t | v(x)), v the embedding and the map of `clip`, which does not learn (arXiv:2111.09734).

    p: the share of the probability that is sampled from, 0 being the likeliest each time; temperature: divides the logits
    before that; block: images at a time.
    """

    def __init__(self, clip: Clip, size: Size, *, p: float = 0.9, temperature: float = 1.0, block: int = 256) -> None:
        self.clip = clip.eval()
        self.size = size
        self.p, self.temperature, self.block = p, temperature, block
        example = torch.zeros(1, 3, clip.resolution, clip.resolution, device=clip.device)
        with torch.no_grad():
            channels = clip.encode_image(example).shape[-1]
        self.decoder = PrefixDecoder(size, channels, _vocabulary(clip)).to(clip.device)

    @torch.no_grad()
    def see(self, images: UInt8[Tensor, "n 3 h w"]) -> Prefix:
        """v(x): unit vectors, the embedding first, then the places of the map, at most `size.grid` squared of them.

        A tower that shows no map gives its embedding alone.
        """
        parts = [self._see(part.to(self.clip.device).float() / 255) for part in images.split(self.block)]
        return torch.cat(parts)

    def describe(self, images: UInt8[Tensor, "n 3 h w"], n: int, seed: int) -> list[tuple[str, ...]]:
        """At most `n` different captions of each image; what stands after an image does not change its captions."""
        rng, texts = Generator().manual_seed(seed), list[str]()
        for part in images.split(self.block):
            rows = self.decoder.eval().sample(self.see(part), n, rng, self.p, self.temperature)
            texts += self._texts(rows)
        return [different(texts[i : i + n]) for i in range(0, len(texts), n)]

    def save(self, folder: Path) -> None:
        """Write the decoder, its description and the encoder; equal captioners give equal bytes."""
        storage.save(self.clip, folder / ENCODER)
        state = self.decoder.state_dict()
        save_file({k: v.cpu().contiguous() for k, v in state.items() if k != TIED}, folder / WEIGHTS)
        description = {"size": dump(self.size), "p": self.p, "temperature": self.temperature}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")

    def _see(self, images: Image) -> Prefix:
        try:
            whole, places = self.clip.encode_places(images)
        except NotImplementedError:
            return self.clip.encode_image(images)[:, None]
        side = round(places.shape[1] ** 0.5)
        if side > self.size.grid:
            cells = adaptive_avg_pool2d(places.mT.unflatten(2, (side, side)), self.size.grid)
            places = torch.nn.functional.normalize(cells.flatten(2).mT, dim=-1)
        return torch.cat([whole[:, None], places], dim=1)

    def _texts(self, rows: Tensor) -> list[str]:
        end = self.decoder.vocabulary.end
        ids = [row[: row.index(end)] if end in row else row for row in rows.tolist()]
        return [" ".join(self.clip.decode(caption).split()) for caption in ids]


def read(folder: Path) -> PrefixCaptioner:
    """The captioner that `save` wrote, on the device of the models; raises what `storage.read` raises."""
    description = json.loads((folder / DESCRIPTION).read_text())
    size = parse(description["size"], Size, str(folder / DESCRIPTION))
    with torch.random.fork_rng():
        made = PrefixCaptioner(
            storage.read(folder / ENCODER), size, p=description["p"], temperature=description["temperature"]
        )
    weights = load_file(folder / WEIGHTS)
    made.decoder.load_state_dict(weights | {TIED: weights["language.transformer.wte.weight"]})
    made.clip.to(best())
    made.decoder.eval().to(best())
    return made


def different(texts: Sequence[str]) -> tuple[str, ...]:
    """Each text once, in order, the empty one left out."""
    return tuple(dict.fromkeys(text for text in texts if text))


def _vocabulary(clip: Clip) -> Vocabulary:
    longest = clip.tokenizer(["a " * 4096])
    return Vocabulary(int(longest[0, 0]), int(longest.max()), longest.shape[1])
