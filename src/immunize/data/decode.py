"""From whatever a file holds to an 8-bit RGB square, or to the reason why not."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from immunize.data.record import Unusable

Raw = bytes | Path | Image.Image

# A closed list: Pillow would start other programs for some formats (EPS) and has fragile readers for many.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_ORIENTATION = 0x0112
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True, slots=True)
class Square:
    """An RGB image of `size` x `size`, and the bytes to keep: the file itself where nothing had to change, else PNG."""

    image: Image.Image
    encoded: bytes

    @property
    def sha256(self) -> str:
        """Of the decoded pixels, so that the same picture in two file formats is found."""
        return hashlib.sha256(self.image.tobytes()).hexdigest()

    @property
    def dhash(self) -> str:
        """16 hex digits, of the gray 8 x 9 thumbnail: bit (r, c) is gray(r, c) < gray(r, c + 1)."""
        gray = np.asarray(self.image.convert("L").resize((9, 8), Image.Resampling.BILINEAR))
        return np.packbits(gray[:, :-1] < gray[:, 1:]).tobytes().hex()


def to_rgb(data: Raw, size: int, *, min_side: int = 8, max_pixels: int = 64_000_000) -> Image.Image:
    """Shorter side to `size` (bicubic), center crop; the identity where it is RGB of that size already.

    Upright by EXIF, first frame of an animation, transparency over white, 16 bit to 8 by the high byte. Raises
    Unusable: missing_file, not_an_image, truncated, too_small (a side < min_side), too_many_pixels, unsupported_mode.
    """
    return square(data, size, min_side=min_side, max_pixels=max_pixels).image


def square(data: Raw, size: int, *, min_side: int = 8, max_pixels: int = 64_000_000) -> Square:
    """`to_rgb` with the bytes to keep; the same errors."""
    content, image = (b"", data) if isinstance(data, Image.Image) else _open(data)
    width, height = image.size
    if min(width, height) < min_side:
        raise Unusable("too_small", f"{width} x {height} pixels, at least {min_side} each way")
    if width * height > max_pixels:
        raise Unusable("too_many_pixels", f"{width} x {height} = {width * height:,} pixels, at most {max_pixels:,}")
    original = (image.mode, image.size) == ("RGB", (size, size)) and image.format in ("JPEG", "PNG")
    try:
        image.load()
        turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
        upright = ImageOps.exif_transpose(image) if turned else image
    except Exception as error:  # a hostile file can make a decoder raise anything
        raise Unusable("truncated", f"{len(content):,} bytes of {image.format}: {error}") from None
    frames = getattr(image, "n_frames", 1)  # only some formats of Pillow have it
    whole = original and frames == 1 and not turned and not image.has_transparency_data
    result = _resize(_flatten(upright), size)
    return Square(result, content if whole and content else _png(result))


def _open(data: bytes | Path) -> tuple[bytes, Image.Image]:
    try:
        content = data.read_bytes() if isinstance(data, Path) else data
    except (OSError, ValueError) as error:
        raise Unusable("missing_file", str(error)) from None
    try:
        return content, Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable("too_many_pixels", str(error)) from None
    except Exception as error:  # a hostile file can make a reader raise anything
        detail = f"{len(content):,} bytes beginning {content[:8]!r}: {type(error).__name__}"
        raise Unusable("not_an_image", detail) from None


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP:
        return Image.fromarray((np.asarray(image).astype(np.int32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Unusable("unsupported_mode", "floating-point pixels have no agreed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resize(image: Image.Image, size: int) -> Image.Image:
    """Resize and center crop in one pass over the source box: a 10 x 60,000 strip never becomes a huge intermediate."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    short = min(width, height)
    long_w, long_h = int(size * width / short), int(size * height / short)
    left, top = round((long_w - size) / 2), round((long_h - size) / 2)
    x, y = width / long_w, height / long_h
    box = (left * x, top * y, min((left + size) * x, width), min((top + size) * y, height))
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def _png(image: Image.Image) -> bytes:
    """Pixels only (no EXIF, color profile or text); level 1, because 6 takes three times as long for 3 % less."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
