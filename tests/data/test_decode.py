"""The zoo of bad pictures: each is converted to the pixels it means, or refused with its reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional

from immunize.data.decode import square, to_rgb
from immunize.data.record import Unusable


def picture(seed: int, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Image.Image:
    """Smooth colored noise, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def huge_png(width: int, height: int) -> bytes:
    """A file of 60 bytes that says it is an image of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_file_that_is_right_already_is_kept_byte_for_byte(format: str) -> None:
    data = encode(picture(0), format)
    kept = square(data, 32)
    assert kept.encoded == data
    assert (pixels(kept.image) == pixels(Image.open(io.BytesIO(data)))).all()


def test_what_is_kept_always_decodes_to_the_pixels_that_were_returned() -> None:
    for data in (encode(picture(0, (50, 40)), "JPEG"), encode(picture(1, mode="L")), encode(picture(2), "GIF")):
        result = square(data, 32)
        again = Image.open(io.BytesIO(result.encoded))
        assert again.mode == "RGB" and (pixels(again) == pixels(result.image)).all()


@pytest.mark.parametrize("size", [(64, 40), (40, 64), (33, 32), (20, 61), (224, 224)])
def test_resize_and_crop_agree_with_torchvision(size: tuple[int, int]) -> None:
    image = picture(3, size)
    expected = functional.center_crop(functional.resize(image, [32], functional.InterpolationMode.BICUBIC), [32, 32])
    assert np.abs(pixels(to_rgb(image, 32)) - pixels(expected)).max() <= 1  # one rounding, where the window is moved


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "YCbCr", "LA", "RGBA", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = picture(4).convert("RGBA" if mode == "PA" else "RGB").convert("P" if mode == "PA" else mode)
    result = to_rgb(image.convert(mode), 32)
    assert (result.mode, result.size) == ("RGB", (32, 32))


@pytest.mark.parametrize(
    ("format", "mode"), [("JPEG", "CMYK"), ("PNG", "L"), ("PNG", "P"), ("TIFF", "CMYK"), ("WEBP", "RGB")]
)
def test_a_converted_file_looks_like_the_picture(format: str, mode: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    source = picture(5).convert(mode)
    difference = np.abs(pixels(to_rgb(encode(source, format, **options), 32)) - pixels(source.convert("RGB")))
    assert difference.mean() < 6  # JPEG loses a little, an inverted CMYK would be 100 off


def test_sixteen_bits_keep_their_high_byte() -> None:
    deep = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 63
    result = pixels(to_rgb(encode(Image.fromarray(deep)), 32))
    assert (result == (deep >> 8)[..., None]).all()


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    palette = picture(0).quantize(4)
    assert (pixels(to_rgb(encode(clear), 32)) == 255).all()
    white = (pixels(to_rgb(encode(palette, transparency=2), 32)) == 255).all(axis=-1)
    assert (white == (np.asarray(palette) == 2)).all()
    assert (pixels(to_rgb(encode(Image.new("RGB", (32, 32), (9, 9, 9)), transparency=(9, 9, 9)), 32)) == 255).all()


def test_exif_rotation_is_applied_and_the_file_is_not_kept() -> None:
    image = picture(6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held 90 degrees to the right
    result = square(encode(image, exif=exif), 32)
    assert (pixels(result.image) == pixels(image.transpose(Image.Transpose.ROTATE_270))).all()
    assert Image.open(io.BytesIO(result.encoded)).getexif().get(0x0112) is None


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ((250, 0, 0), (0, 0, 250))]
    result = square(encode(frames[0], format, save_all=True, append_images=frames[1:]), 32)
    red, _, blue = pixels(result.image).mean(axis=(0, 1))
    assert red > 200 and blue < 50
    assert getattr(Image.open(io.BytesIO(result.encoded)), "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(picture(7, (64, 64)), "JPEG")[:900], "truncated"),
        (encode(picture(7, (64, 64)))[:3000], "truncated"),
        (b"", "not_an_image"),
        (b"<html>404</html>", "not_an_image"),
        (encode(picture(7))[:20], "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (encode(picture(7, (1, 1))), "too_small"),
        (encode(picture(7, (3, 500))), "too_small"),
        (huge_png(9_000, 9_000), "too_many_pixels"),
        (huge_png(12_000, 12_000), "too_many_pixels"),
        (huge_png(60_000, 60_000), "too_many_pixels"),
        (encode(Image.new("F", (32, 32)), "TIFF"), "unsupported_mode"),
        (Path("no/such.jpg"), "missing_file"),
        (Path("a\0b.jpg"), "missing_file"),
        (Path(), "missing_file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(data: bytes | Path, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        to_rgb(data, 32)
    assert caught.value.reason == reason


def test_the_smallest_side_is_a_choice() -> None:
    assert to_rgb(picture(8, (3, 3)), 32, min_side=2).size == (32, 32)


def test_a_strip_is_cropped_without_a_giant_in_between() -> None:
    assert to_rgb(Image.new("RGB", (60_000, 8)), 32).size == (32, 32)


def test_any_damage_to_a_file_is_refused_or_decoded_but_never_crashes() -> None:
    rng = np.random.default_rng(0)
    originals = [encode(picture(9, (40, 40)), f) for f in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")]
    for data in originals * 40:
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 4):
            damaged[at] = rng.integers(256)
        try:
            assert to_rgb(bytes(damaged), 32).size == (32, 32)
        except Unusable as error:
            assert error.reason and error.detail


def test_fingerprints_tell_pictures_apart_and_recognize_a_recompressed_one() -> None:
    one, other = square(picture(10), 32), square(picture(11), 32)
    recompressed = square(encode(picture(10), "JPEG", quality=60), 32)
    assert one.sha256 == square(encode(picture(10)), 32).sha256 != recompressed.sha256

    def distance(a: str, b: str) -> int:
        return (int(a, 16) ^ int(b, 16)).bit_count()

    assert distance(one.dhash, recompressed.dhash) <= 4 < 16 <= distance(one.dhash, other.dhash)
