"""The gallery as one PNG on a transparent ground, for pages that cannot lay out HTML; drawn at twice its shown size."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from immunize.report.gallery import Example, Pixels, Words, magnified
from immunize.report.names import attack_label
from immunize.report.theme import DARK, INK, MUTED, dark

TILE, GAP, WIDTH, HEADER, LINE = 168, 24, 1660, 56, 36
LEFT = 3 * (TILE + GAP) + 10  # of the captions
MARK, DARK_MARK = "#b42318", "#ff8a7a"


def write(shown: list[Example], path: Path) -> None:
    """`path` for light pages, `<stem>-dark.png` for dark ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _draw(shown, Pen(INK, MUTED, MARK)).save(path)
    _draw(shown, Pen(DARK[INK], DARK[MUTED], DARK_MARK)).save(dark(path))


@dataclass(frozen=True, slots=True)
class Pen:
    """Colors of the text; the marked words are underlined too, for those who cannot tell the color."""

    ink: str
    muted: str
    mark: str
    sheet: Image.Image = field(default_factory=lambda: Image.new("RGBA", (1, 1)))

    def text(self, at: tuple[int, int], words: Words, size: int = 25, *, color: str | None = None) -> int:
        """Writes `words` from `at`, wrapped at the right edge; returns the y below the last line."""
        draw, (x, y) = ImageDraw.Draw(self.sheet), at
        for word, marked in words:
            font = _font(size, bold=marked)
            width = int(font.getlength(word))
            if x > at[0] and x + width > WIDTH:
                x, y = at[0], y + LINE
            draw.text((x, y), word, font=font, fill=self.mark if marked else color or self.ink)
            if marked:
                draw.line((x, y + size + 5, x + width, y + size + 5), fill=self.mark, width=2)
            x += width + int(_font(size).getlength(" "))
        return y + LINE


def _draw(shown: list[Example], colors: Pen) -> Image.Image:
    several = any(example.attack for example in shown)
    differences = [magnified([example]) for example in shown] if several else _alike(shown)
    factors = [factor for factor, _ in differences]
    bottoms = [_describe(colors, example, (LEFT, 0), factor) for example, factor in zip(shown, factors, strict=True)]
    tops = list(accumulate((max(TILE, bottom) + GAP for bottom in bottoms), initial=HEADER))
    pen = Pen(colors.ink, colors.muted, colors.mark, Image.new("RGBA", (WIDTH, tops[-1]), (0, 0, 0, 0)))
    title = "Difference" if several else f"Difference ×{factors[0]}"
    for column, text in enumerate(("Clean", "Adversarial", title, "Caption, before and after")):
        pen.text((column * (TILE + GAP), 8), [(text, False)], 23, color=pen.muted)
    for example, (factor, (difference,)), top in zip(shown, differences, tops):
        for column, pixels in enumerate((example.clean, example.adversarial, difference)):
            pen.sheet.paste(_tile(pixels), (column * (TILE + GAP), top))
        _describe(pen, example, (LEFT, top), factor)
    return pen.sheet


def _alike(shown: list[Example]) -> list[tuple[int, list[Pixels]]]:
    """All differences magnified by one factor."""
    factor, differences = magnified(shown)
    return [(factor, [difference]) for difference in differences]


def _describe(pen: Pen, example: Example, at: tuple[int, int], factor: int) -> int:
    """The attack's name, the caption before and (where it changed) after, and the places; returns the y below."""
    left, y = at
    if example.attack:
        moved = f", difference ×{factor}" if (example.clean != example.adversarial).any() else ""
        y = pen.text((left, y - 4), [(attack_label(example.attack) + moved, False)], 23)
    y = pen.text((left, y), example.before, color=pen.muted)
    if example.after != example.before or not example.attack:
        y = pen.text((left, y + 6), example.after)
    return pen.text((left, y + 6), [(_places(example), False)], 21, color=pen.muted)


def _places(example: Example) -> str:
    if example.caption_place is None:
        return "right class at place {} → {}".format(*example.image_place)
    both = "own caption at place {} → {},  own image at place {} → {}"
    return both.format(*example.image_place, *example.caption_place)


def _tile(pixels: Pixels) -> Image.Image:
    small = max(pixels.shape[:2]) < TILE
    return Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the same font on every machine
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)
