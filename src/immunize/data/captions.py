"""What a caption must be before any tokenizer sees it."""

from __future__ import annotations

import unicodedata

from immunize.data.record import Unusable

_BREAKS = "\t\n\r\f\v\u0085\u2028\u2029"
_JOINER = "\u200d"


def clean(caption: object, max_characters: int) -> str:
    """The caption with every run of white space as one space, otherwise as it is: nothing lower-cased or removed.

    Raises Unusable: `not_a_string`, `empty_caption`, `too_long` (characters, after cleaning) or `control_characters`.
    Control, invisible-format and surrogate characters are refused, not stripped: they are the mark of a broken encoding
    or of a hidden edit, and stripping would join words silently. Line breaks and tabs count as white space, and the
    joiner inside emoji is kept.
    """
    if not isinstance(caption, str):
        raise Unusable("not_a_string", f"{type(caption).__name__} {str(caption)[:80]!r}")
    if not caption.isprintable():
        _refuse_invisible(caption)
    text = " ".join(caption.split())
    if not text:
        raise Unusable("empty_caption", f"{len(caption)} white-space characters")
    if len(text) > max_characters:
        raise Unusable("too_long", f"{len(text)} characters, at most {max_characters}: {text[:80]!r}")
    return text


def _refuse_invisible(caption: str) -> None:
    for character in caption:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in _BREAKS + _JOINER:
            raise Unusable("control_characters", f"U+{ord(character):04X} in {caption[:80]!a}")
