"""Ranks against a loop over the full matrix, and by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from immunize.metrics.retrieval import ranks, recall


def naive(images: Tensor, texts: Tensor, owner: Tensor) -> tuple[list[int], list[int]]:
    score = (images.double() @ texts.double().T).tolist()
    by_image = []
    for i, row in enumerate(score):
        best = max(s for s, o in zip(row, owner, strict=True) if o == i)
        by_image.append(sum(s >= best for s, o in zip(row, owner, strict=True) if o != i))
    by_caption = []
    for c, o in enumerate(owner.tolist()):
        by_caption.append(sum(row[c] >= score[o][c] for i, row in enumerate(score) if i != o))
    return by_image, by_caption


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_agrees_with_a_loop_when_images_have_different_numbers_of_captions(block: int) -> None:
    rng = torch.Generator().manual_seed(0)
    owner = torch.tensor([3, 0, 1, 1, 2, 0, 4, 3, 3, 3, 5, 6, 7, 8, 8])
    images, texts = (normalize(torch.randn(n, 4, generator=rng), dim=1) for n in (9, len(owner)))
    found = ranks(images, texts, owner, block=block)
    assert (found.image.tolist(), found.caption.tolist()) == naive(images, texts, owner)
    assert len(set(found.image.tolist())) > 2


def test_two_by_two_by_hand() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.6, 0.8], [0.0, 1.0]])  # caption 0 belongs to image 0 but looks like image 1
    found = ranks(images, texts, torch.tensor([0, 1]))
    # image 0: 0.6 over 0.0; image 1: 1.0 over 0.8; caption 0: 0.6 behind 0.8, the only miss; caption 1: 1.0 over 0.0
    assert found.image.tolist() == [0, 0]
    assert found.caption.tolist() == [1, 0]
    assert recall(found.caption, 1) == 50.0
    assert recall(found.caption, 2) == 100.0


@pytest.mark.parametrize("block", [1, 3, 64])
def test_ties_count_against_the_model(block: int) -> None:
    """A collapsed tower scores everything alike, up to rounding that depends on how the products are summed."""
    rng = torch.Generator().manual_seed(0)
    varied = normalize(torch.randn(40, 513, generator=rng), dim=1)
    alike = varied[:1].repeat(40, 1)
    assert ranks(alike, varied, torch.arange(40), block=block).caption.tolist() == [39] * 40
    assert ranks(varied, alike, torch.arange(40), block=block).image.tolist() == [39] * 40


def test_own_captions_never_compete_with_each_other() -> None:
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = ranks(torch.eye(2), texts, torch.tensor([0, 0, 1]))
    assert found.image.tolist() == [0, 0]


def test_refuses_what_would_look_like_a_perfect_model() -> None:
    images, owner = torch.eye(2), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="1 of 2 text features are not finite"):
        ranks(images, torch.tensor([[1.0, 0.0], [torch.nan, 1.0]]), owner)
    with pytest.raises(ValueError, match="1 images have no caption, the first at position 1"):
        ranks(images, images, torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="outside the 2 images"):
        ranks(images, images, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="split is empty"):
        recall(torch.tensor([], dtype=torch.long), 1)
