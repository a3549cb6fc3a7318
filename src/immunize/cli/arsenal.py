"""Every attack by name, made from the few settings that a person types: an attack heeds those that it has a field for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from fractions import Fraction
from math import inf
from typing import Any, get_args

from immunize.attacks import Attack
from immunize.config import ConfigurationError, parse

ROOMS = {
    "image": "on the image, knowing the model",
    "black_box": "on the image, by queries or from another model",
    "text": "on the text",
    "joint": "on image and text",
}
VARIANTS = {"nes": ("estimated_gradient", {"estimator": "nes"}), "spsa": ("estimated_gradient", {"estimator": "spsa"})}
ORDERS = {"image_then_text": ("pgd", "bert_attack"), "text_then_image": ("bert_attack", "pgd")}
RADII = {"linf": "2/255", "l2": "0.5", "l0": "10"}  # where --eps is not given; for l_0 pixels
UNFITTED = (
    "--attack universal applies a perturbation that --path names. Make it in Python, on other images than these: "
    "from immunize.attacks.image import universal; universal.save(universal.fit(model, batches, threat), path)"
)
SCALES = (0.5, 0.75, 1.25, 1.5)  # of SGA, arXiv:2307.14061, beside the image itself


@dataclass(frozen=True, slots=True)
class Options:
    """What may be typed; None leaves it to the attack."""

    eps: str | None = None
    norm: str | None = None
    words: int | None = None
    steps: int | None = None
    queries: int | None = None
    language: str | None = None
    surrogate: str | None = None
    synonyms: str | None = None
    path: str | None = None
    targeted: bool | None = None


def names() -> list[str]:
    """All of them, room by room; attacks that are made of others are written in YAML."""
    return [*_kinds(), *VARIANTS, *ORDERS]


def listing() -> str:
    """The names by room, each with the promise that its docstring begins with."""
    width = max(map(len, names()))
    lines: list[str] = []
    for room, title in ROOMS.items():
        inside = {name: kind for name, kind in _kinds().items() if _room(kind) == room}
        lines += [
            f"{title}:",
            *(f"  {n:{width}}  {(kind.__doc__ or '').splitlines()[0]}" for n, kind in inside.items()),
        ]
    lines += ["others:", *(f"  {name:{width}}  {kind}, {more}" for name, (kind, more) in VARIANTS.items())]
    return "\n".join([*lines, *(f"  {name:{width}}  {a}, then {b}" for name, (a, b) in ORDERS.items())])


def named(name: str, options: Options) -> Attack:
    """The attack of that name; raises ValueError that names all, or the setting that does not fit."""
    if name not in names():
        raise ValueError(f"no attack '{name}'; `immunize attack --list` says what each does: {', '.join(names())}")
    if name == "universal" and options.path is None:
        raise ValueError(UNFITTED)
    if name in ORDERS:
        settings = {"kind": "then", "attacks": [_settings(part, options) for part in ORDERS[name]]}
    else:
        kind, more = VARIANTS.get(name, (name, {}))
        settings = _settings(kind, options) | more
    if options.targeted and "targeted" not in settings:
        able = (known for known, kind in _kinds().items() if any(field.name == "targeted" for field in fields(kind)))
        raise ValueError(f"--targets: {name} cannot be aimed; these can: {', '.join([*able, *VARIANTS])}")
    heeded = set(_keys(settings))
    for option, value in asdict(options).items():
        if value is not None and option not in heeded:
            raise ValueError(f"--{option} {value}: {name} has no use for it")
    return parse(settings, Attack, f"--attack {name}")


def radius(text: str, norm: str = "linf") -> float:
    """ "2/255" or "0.01" as a number; raises ValueError below 0, or for l_inf above 1, the range of the pixels."""
    try:
        value = inf if text == "inf" else float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--eps '{text}' is no number; write 2/255 or 0.01") from None
    if norm == "linf" and not (0 <= value <= 1 or value == inf):
        raise ValueError(f"--eps {text} is outside [0, 1], the range of the pixels; write it as 2/255 or 0.01")
    if value < 0:
        raise ValueError(f"--eps {text} is below 0")
    return value


def _settings(name: str, options: Options) -> dict[str, Any]:
    """The fields of the attack that the options speak of, and the attacks that it is made of."""
    kind = _kinds()[name]
    has = {field.name: field.default for field in fields(kind)}
    typed = {key: value for key, value in asdict(options).items() if key in has and value is not None}
    settings: dict[str, Any] = {"kind": name} | typed
    if "typos" in has and not options.language:
        settings["typos"] = has["typos"] is False or 8  # without a language model misspellings: all, or so many
    if "text" in has:
        settings["text"] = _settings("relaxed" if name == "simultaneous" else "bert_attack", options)
    if "image" in has:
        settings["image"] = _settings("pgd", options) | ({"scales": SCALES} if name == "sga" else {})
    if name == "transfer":
        settings |= {"attack": _settings("pgd", options), "knows": "nothing" if options.surrogate else "vision"}
    if "threat" in has:
        settings |= _threat(kind, settings, options)
    return settings


def _threat(kind: type[Any], settings: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Words of a caption, or the ball of the norm asked for; else of the attack's own, or the first that it takes."""
    if _room(kind) == "text":
        return {"threat": {"words": 1 if options.words is None else options.words}}
    own = next(field for field in fields(kind) if field.name == "threat").default
    if own is not MISSING and options.eps is None and options.norm is None:
        return {}
    norm = options.norm or next((norm for norm in RADII if _takes(kind, settings, norm)), "linf")
    return {"threat": {"norm": norm, "eps": radius(options.eps or RADII[norm], norm)}}


def _keys(settings: Any) -> Iterator[str]:
    """Every key, however deep."""
    inside = settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ()
    yield from settings if isinstance(settings, dict) else ()
    for value in inside:
        yield from _keys(value)


def _takes(kind: type[Any], settings: Mapping[str, Any], norm: str) -> bool:
    try:
        parse({**settings, "threat": {"norm": norm, "eps": 1.0}}, kind, "")
    except ConfigurationError:
        return False
    return True


def _kinds() -> dict[str, type[Any]]:
    members = [kind for kind in get_args(get_args(Attack)[0]) if _room(kind) in ROOMS]
    members.sort(key=lambda kind: list(ROOMS).index(_room(kind)))
    return {next(str(f.default) for f in fields(kind) if f.name == "kind"): kind for kind in members}


def _room(kind: type[Any]) -> str:
    return kind.__module__.split(".")[2]
