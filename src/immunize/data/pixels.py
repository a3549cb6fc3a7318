"""Encoded images -> 8-bit pixels: in memory, or once into a file that is mapped, of which a batch reads its own rows."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from immunize.data.shards import read_images

Pixels = UInt8[Tensor, "n 3 h w"]


def decoded(encoded: Sequence[bytes]) -> Pixels:
    """The pixels of images of one size."""
    with Image.open(io.BytesIO(encoded[0])) as first:
        width, height = first.size
    pixels = np.empty((len(encoded), 3, height, width), dtype=np.uint8)

    def one(i: int) -> None:
        with Image.open(io.BytesIO(encoded[i])) as image:
            pixels[i] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(len(encoded))))  # the list raises what a thread raised
    return torch.from_numpy(pixels)


def mapped(folder: Path, split: str, count: int, cache: Path, block: int = 500) -> Pixels:
    """The first `count` images of `split` below a collect folder, from a file in `cache` named by their content.

    The file is written at the first call, at most a shard in memory, and takes 3 h w bytes an image. Rows are read when
    they are looked at, and the operating system keeps as many as there is room for. Raises OSError where the disk is full.
    """
    hashes, height, width = _content(folder, split, count)
    path = cache / f"{hashes}-{count}x3x{height}x{width}.u8"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _write(partial, folder, split, count, block)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    size = count * 3 * height * width
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).view(count, 3, height, width)


def _content(folder: Path, split: str, count: int) -> tuple[str, int, int]:
    """A name for the pixels, from the hashes that stand in the table beside them; height and width of the first."""
    digest, left, shape = hashlib.sha256(), count, (0, 0)
    for table in read_images(folder, ["sha256", "height", "width"], split):
        rows = table.slice(0, left).to_pylist()
        if rows and left == count:
            shape = rows[0]["height"], rows[0]["width"]
        digest.update("".join(row["sha256"] for row in rows).encode())
        left -= len(rows)
    return digest.hexdigest()[:16], *shape


def _write(path: Path, folder: Path, split: str, count: int, block: int) -> None:
    with path.open("wb") as file:
        for table in read_images(folder, ["image"], split):
            images = table["image"].slice(0, count)
            count -= len(images)
            for start in range(0, len(images), block):
                file.write(decoded(images.slice(start, block).to_pylist()).numpy().data)
