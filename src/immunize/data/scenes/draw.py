"""A scene as pixels: signed distances, so edges are smooth and the same scene gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from immunize.data.scenes.world import Scene, Thing

Plane = np.ndarray

PALETTE = {
    "red": (205, 30, 35), "green": (35, 150, 55), "blue": (40, 70, 200), "yellow": (240, 215, 50),
    "purple": (135, 50, 160), "orange": (245, 130, 25), "white": (250, 250, 250), "black": (15, 15, 15),
}  # fmt: skip
RADIUS = {"small": 0.085, "large": 0.145}  # of the image's side


def draw(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` x `size` x 3 uint8: the ground, then each object, with a little jitter of color and place from `rng`."""
    y, x = np.mgrid[0:size, 0:size] / size + 0.5 / size
    pixels = _ground(scene.ground, x, y, rng)
    for thing in scene.things:
        pixels = _paint(pixels, thing, x, y, rng)
    noise = rng.normal(0.0, 2.0, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _ground(name: str, x: Plane, y: Plane, rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(125, 165) + rng.uniform(-12, 12, 3)
    phase, turn = rng.uniform(0, 1, 2)
    u, v = (x, y) if turn < 0.5 else (y, x)
    pattern = {
        "plain": np.zeros_like(x),
        "striped": np.sign(np.sin(2 * np.pi * (u * 6 + phase))),
        "dotted": 1.0 - 2.0 * (np.hypot((x * 6 + phase) % 1 - 0.5, (y * 6 + phase) % 1 - 0.5) < 0.28),
        "checkered": np.sign(np.sin(2 * np.pi * (u * 3 + phase)) * np.sin(2 * np.pi * (v * 3 + phase))),
    }[name]
    return base + rng.uniform(14, 22) * pattern[..., None]


def _paint(pixels: np.ndarray, thing: Thing, x: Plane, y: Plane, rng: np.random.Generator) -> np.ndarray:
    radius = RADIUS[thing.size] * rng.uniform(0.95, 1.05)
    jitter = rng.uniform(-0.02, 0.02, 2)
    u = x - (2 * thing.column + 1) / 6 - jitter[0]
    v = y - (2 * thing.row + 1) / 6 - jitter[1]
    color = np.array(PALETTE[thing.color]) + rng.uniform(-8, 8, 3)
    coverage = np.clip(0.5 - DISTANCE[thing.shape](u / radius, v / radius) * radius * len(x), 0, 1)[..., None]
    return pixels * (1 - coverage) + color * coverage


def _box(u: Plane, v: Plane, width: float, height: float) -> Plane:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _star(u: Plane, v: Plane) -> Plane:
    angle, distance = np.arctan2(u, -v), np.hypot(u, v)
    ray = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2  # 0 on a point of the star, 1 between two points
    return (distance - (1.2 - 0.78 * ray)) * 0.7


# Distance to the edge of a shape of radius 1, negative inside.
DISTANCE: dict[str, Callable[[Plane, Plane], Plane]] = {
    "circle": lambda u, v: np.hypot(u, v) - 0.95,
    "square": lambda u, v: _box(u, v, 0.85, 0.85),
    "triangle": lambda u, v: np.maximum(v - 0.8, 0.87 * np.abs(u) - 0.5 * (v + 0.8) * 0.98),
    "diamond": lambda u, v: (np.abs(u) * 1.35 + np.abs(v) - 1.15) * 0.6,
    "cross": lambda u, v: np.minimum(_box(u, v, 1.0, 0.32), _box(u, v, 0.32, 1.0)),
    "star": _star,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.75) - 0.25,
    "bar": lambda u, v: _box(u, v, 1.1, 0.38),
}
