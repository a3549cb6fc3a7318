"""The proposals of Square: tiles, each image with its own, at the corners of an l_inf ball or as bumps on an l_2 sphere."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from immunize.attacks.victim import Rows
from immunize.batch import Image
from immunize.rng import uniform

Active = Float[Tensor, "n 3 h w"]  # the images not fooled yet
Draws = Float[Tensor, "n j"]


def stripes(clean: Image, eps: float, keys: Int[Tensor, " b"], seed: int) -> Image:
    """Columns of the ball's corners, a color each."""
    channels, width = clean.shape[1], clean.shape[3]
    color = _signs(uniform(seed, keys, channels * width)).view(-1, channels, 1, width)
    return (clean + eps * color).clamp(0, 1)


def recolor(start: Image, clean: Image, rows: Rows, draws: Draws, side: int, eps: float) -> Active:
    """`start[rows]`, in each a tile at a corner of the l_inf ball; a color that changes nothing becomes its opposite."""
    x, center = start[rows], clean[rows]
    tile = _tile(_corner(draws[:, :2], x, side), x, side)
    step = eps * _signs(draws[:, -x.shape[1] :])[:, :, None, None]
    recolored = torch.where(tile, (center + step).clamp(0, 1), x)
    idle = (recolored == x).flatten(1).all(dim=1)[:, None, None, None]
    return torch.where(tile & idle, (center - step).clamp(0, 1), recolored)


def grid(clean: Image, eps: float, keys: Int[Tensor, " b"], seed: int) -> Image:
    """5 x 5 bumps, each channel of each with its own sign and each bump turned at random, rescaled to the l_2 ball."""
    channels, height, width = clean.shape[1:]
    side = max(min(height, width) // 5, 1)
    down, across = height // side, width // side
    draws = uniform(seed, keys, down * across * (channels + 1)).view(-1, down * across, channels + 1).flatten(0, 1)
    pair = _pair(side).to(clean.device)
    bumps = torch.where(draws[:, :1, None, None] < 0.5, pair, pair.T)
    tiles = bumps * _signs(draws[:, 1:])[:, :, None, None]
    tiles = tiles.view(len(clean), down, across, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    delta, top, left = torch.zeros_like(clean), (height - down * side) // 2, (width - across * side) // 2
    delta[:, :, top : top + down * side, left : left + across * side] = tiles.flatten(4, 5).flatten(2, 3)
    return _on_sphere(delta, clean, eps)


def move(start: Image, clean: Image, rows: Rows, draws: Draws, side: int, eps: float) -> Active:
    """`start[rows]`, in each the l_2 budget of two windows (and what was unused) moved into a bump in the first of them."""
    center = clean[rows]
    delta = start[rows] - center
    first = _corner(draws[:, :2], delta, side)
    here, there = _tile(first, delta, side), _tile(_corner(draws[:, 2:4], delta, side), delta, side)
    energy, channels = delta.square(), delta.shape[1]
    unused = (eps**2 - energy.sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0) / channels
    free = unused + (energy * (here | there)).sum(dim=(2, 3), keepdim=True)
    signs = _signs(draws[:, -channels:])[:, :, None, None]
    bump = signs * _placed(_pair(side).to(delta.device), first, draws[:, 4] < 0.5, delta)
    moved = _unit((bump + _unit(delta * here)) * here) * free.sqrt()
    return _on_sphere(torch.where(here, moved, delta * ~there), center, eps)


def _corner(draws: Float[Tensor, "n 2"], x: Active, side: int) -> Int[Tensor, "n 2"]:
    """The first row and column of a tile of each image, any that leaves it inside."""
    places = torch.tensor([x.shape[2] - side + 1, x.shape[3] - side + 1], device=x.device)
    return (draws * places).long()


def _tile(first: Int[Tensor, "n 2"], x: Active, side: int) -> Bool[Tensor, "n 1 h w"]:
    """Which pixels are in it."""
    row, column = _within(first, x)
    return ((row >= 0) & (row < side) & (column >= 0) & (column < side))[:, None]


def _within(first: Int[Tensor, "n 2"], x: Active) -> tuple[Int[Tensor, "n h 1"], Int[Tensor, "n 1 w"]]:
    """Each pixel's row and column, counted from the tile's own."""
    row, column = (torch.arange(size, device=x.device) for size in x.shape[2:])
    return (row - first[:, :1])[:, :, None], (column - first[:, 1:])[:, None]


def _placed(
    tile: Float[Tensor, "side side"], first: Int[Tensor, "n 2"], turned: Bool[Tensor, " n"], x: Active
) -> Float[Tensor, "n 1 h w"]:
    """The tile at its place in each image, transposed where `turned`; outside it means nothing."""
    row, column = (place.clamp(0, len(tile) - 1) for place in _within(first, x))
    swap = turned[:, None, None]
    return tile[torch.where(swap, column, row), torch.where(swap, row, column)][:, None]


def _signs(draws: Tensor) -> Tensor:
    return (draws < 0.5) * 2.0 - 1


@lru_cache(maxsize=512)
def _pair(side: int) -> Float[Tensor, "side side"]:
    """eta^(h, floor(h/2)) above -eta^(h, h - floor(h/2)), of l_2 norm 1."""
    upper = side // 2
    return _unit(torch.cat([_bump(upper, side), -_bump(side - upper, side)]))


def _bump(height: int, width: int) -> Float[Tensor, "h w"]:
    """sum of 1 / j^2 over d < j <= n + 1 at Chebyshev distance d from the center, n being half the longer side."""
    row, column = (torch.arange(side) - side // 2 for side in (height, width))
    distance = torch.maximum(row.abs()[:, None], column.abs()[None])
    rings = 1 / torch.arange(1, max(height, width) // 2 + 2).double().square()
    tail = rings.flip(0).cumsum(0).flip(0)  # of all rings from this one outwards
    bump = tail[distance].float()
    return bump / bump.norm() if bump.numel() else bump


def _unit(x: Tensor) -> Tensor:
    """Each tile over its l_2 norm; 0 stays 0."""
    return x / x.flatten(-2).norm(dim=-1)[..., None, None].clamp(min=1e-12)


def _on_sphere(delta: Image, clean: Image, eps: float) -> Image:
    length = delta.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-12)
    return (clean + delta * (eps / length)).clamp(0, 1)
