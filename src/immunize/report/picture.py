"""The gallery as one PNG on a transparent ground, for pages that cannot lay out HTML; drawn at twice its shown size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from immunize.report.gallery import Example, Pixels, Words, magnified
from immunize.report.theme import DARK, INK, MUTED, dark

TILE, GAP, WIDTH, HEADER, LINE = 168, 24, 1660, 56, 36
MARK, DARK_MARK = "#b42318", "#ff8a7a"


def write(shown: list[Example], path: Path) -> None:
    """`path` for light pages, `<stem>-dark.png` for dark ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _draw(shown, Pen(INK, MUTED, MARK)).save(path, optimize=True)
    _draw(shown, Pen(DARK[INK], DARK[MUTED], DARK_MARK)).save(dark(path), optimize=True)


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
    sheet = Image.new("RGBA", (WIDTH, HEADER + len(shown) * (TILE + GAP)), (0, 0, 0, 0))
    pen = Pen(colors.ink, colors.muted, colors.mark, sheet)
    factor, differences = magnified(shown)
    for column, title in enumerate(("Clean", "Adversarial", f"Difference ×{factor}", "Caption, before and after")):
        pen.text((column * (TILE + GAP), 8), [(title, False)], 23, color=pen.muted)
    for row, (example, difference) in enumerate(zip(shown, differences, strict=True)):
        top = HEADER + row * (TILE + GAP)
        for column, pixels in enumerate((example.clean, example.adversarial, difference)):
            sheet.paste(_tile(pixels), (column * (TILE + GAP), top))
        left = 3 * (TILE + GAP) + 10
        y = pen.text((left, top), example.before, color=pen.muted)
        y = pen.text((left, y + 6), example.after)
        places = "own caption at place {} → {},  own image at place {} → {}"
        line = places.format(*example.image_place, *example.caption_place)
        pen.text((left, y + 6), [(line, False)], 21, color=pen.muted)
    return sheet


def _tile(pixels: Pixels) -> Image.Image:
    small = max(pixels.shape[:2]) < TILE
    return Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the same font on every machine
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)
