"""How far one cloud of embeddings is from another, without the bias that few samples bring."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor


def frechet(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """||mu_a - mu_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), the squared 2-Wasserstein distance of the fitted Gaussians.

    Dowson and Landau 1982; as FID in arXiv:1706.08500. Biased upwards by O(d / n): two samples of one distribution are
    far apart when they are small. Raises ValueError for fewer than two samples.
    """
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"a covariance needs two samples or more; there are {len(a)} and {len(b)}")
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return float(distance)


def frechet_gap(
    new: Float[Tensor, "n d"],
    new_owner: Int[Tensor, " n"],
    old: Float[Tensor, "m d"],
    old_owner: Int[Tensor, " m"],
    *,
    rng: Generator,
    splits: int = 8,
) -> float:
    """F(new_1, old_2) - (F(new_1, new_2) + F(old_1, old_2)) / 2, over both halves and the mean of `splits` random halvings.

    Expected to be 0 at any sample size where new and old are of one distribution, since all four terms then have the same
    bias; the part of the means is unbiased in any case, that of the covariances to first order. An owner's samples stay in
    one half, so that variants of one item never stand on both sides. May come out slightly negative. Chosen over the
    extrapolation of arXiv:1911.07023, whose line in 1 / n fits only where n is far above d. Raises ValueError where a half
    has fewer than two samples.
    """
    owners = torch.cat([new_owner, old_owner]).unique()
    total = 0.0
    for _ in range(splits):
        first = owners[torch.randperm(len(owners), generator=rng)[: len(owners) // 2]]
        in_new, in_old = torch.isin(new_owner, first), torch.isin(old_owner, first)
        across = (frechet(new[in_new], old[~in_old]) + frechet(new[~in_new], old[in_old])) / 2
        within = (frechet(new[in_new], new[~in_new]) + frechet(old[in_old], old[~in_old])) / 2
        total += across - within
    return total / splits
