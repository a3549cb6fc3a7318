"""The other defenses by hand: the mean of views, what purification leaves, weights between models, the order of two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from immunize.batch import Batch
from immunize.models import Clip, save
from immunize.models.blending import blended
from immunize.models.encode import encode_images
from immunize.models.initial import Small
from immunize.serving import Blur, Ensemble, Interpolated, Jpeg, NoGradient, Quantize, Then, Views
from immunize.serving.jpeg import hard
from immunize.serving.views import blurred, shifted


def test_the_ensemble_is_the_mean_over_a_loop(trained: Clip, batch: Batch) -> None:
    views = Views(("same", "shift", "blur"))
    answer = encode_images(Ensemble(views).around(trained), batch.images)
    loop = [trained.encode_image(x) for x in (batch.images, shifted(batch.images, 1, 1), blurred(batch.images, 0.5))]
    assert torch.allclose(answer, normalize(sum(loop, torch.zeros(())) / 3, dim=1), atol=1e-5)


def test_a_seed_draws_the_views(trained: Clip, batch: Batch) -> None:
    views = Views(("shift", "blur"))
    fixed, drawn, again, other = (
        Ensemble(views, seed).around(trained).encode_image(batch.images) for seed in (None, 1, 1, 2)
    )
    assert torch.equal(drawn, again) and not torch.equal(drawn, other) and not torch.equal(drawn, fixed)
    expected = views(batch.images, Generator().manual_seed(1))
    mean = trained.encode_image(expected[0]) + trained.encode_image(expected[1])
    assert torch.allclose(drawn, normalize(mean, dim=1), atol=1e-5)


def test_what_purification_leaves() -> None:
    x = torch.tensor([0.0, 0.1, 0.24, 0.5, 0.76, 1.0]).view(1, 1, 1, 6).expand(1, 3, 2, 6)
    assert Quantize(5).clean(x)[0, 0, 0].tolist() == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    assert Quantize(2).clean(x)[0, 0, 0].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert torch.equal(Jpeg(40).clean(x), hard(x, 40)) and torch.equal(Blur(1.0).clean(x), blurred(x, 1.0))


def test_the_gradients_of_quantization() -> None:
    x = torch.tensor([0.1, 0.24, 0.6]).view(1, 1, 1, 3).expand(1, 3, 1, 3).clone().requires_grad_()
    with pytest.raises(NoGradient, match="quantize"):
        Quantize(5).clean(x)
    for gradient, slope in (("identity", [1, 1, 1]), ("straight", [1, 1, 1]), ("cubic", [0.48, 0.0048, 0.48])):
        cleaned = Quantize(5, gradient).clean(x)
        (found,) = torch.autograd.grad(cleaned.sum(), x)
        assert found[0, 0, 0].tolist() == pytest.approx(slope, abs=1e-5)
        if gradient != "cubic":
            assert torch.allclose(cleaned, Quantize(5).clean(x.detach()))


def test_past_the_codec_or_through_its_twin(batch: Batch) -> None:
    x = batch.images.clone().requires_grad_()
    weight = torch.randn(x.shape, generator=Generator().manual_seed(0))
    past = Jpeg(50).twin("identity").clean(x)
    assert torch.allclose(past, hard(batch.images, 50), atol=1e-6)
    assert torch.allclose(torch.autograd.grad((past * weight).sum(), x)[0], weight)
    with pytest.raises(NoGradient, match="jpeg"):
        Jpeg(50).clean(x)


def test_weights_between_two_models(small: Small, trained: Clip, tmp_path: Path) -> None:
    other = small.make(["a red ball"] * 3 + ["a blue box"], 7)
    other = blended(trained, trained, 1.0)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(2.0)
    save(other, tmp_path / "other")
    mixed = Interpolated(str(tmp_path / "other"), 0.25).around(trained)
    for name, value in mixed.named_parameters():
        ours, theirs = trained.get_parameter(name), other.get_parameter(name)
        assert torch.allclose(value, 0.25 * ours + 0.75 * theirs, atol=1e-6)
    assert not mixed.training and not any(p.requires_grad for p in mixed.parameters())
    images = torch.rand(2, 3, 32, 32, generator=Generator().manual_seed(0))
    same = Interpolated(str(tmp_path / "other"), 1.0).around(trained.eval())
    assert torch.equal(same.encode_image(images), trained.encode_image(images))


def test_models_that_cannot_be_mixed(small: Small, trained: Clip, batch: Batch) -> None:
    stranger = small.make(["a red ball", "a blue box"], 0)  # of another vocabulary
    with pytest.raises(ValueError, match=r"one architecture.*token_embedding"):
        blended(trained, stranger, 0.5)
    with pytest.raises(ValueError, match="put it last"):
        Interpolated("nowhere").around(Blur().around(trained))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Interpolated("nowhere").around(trained)


def test_the_input_meets_the_first_first(trained: Clip, batch: Batch) -> None:
    blur, few = Blur(1.0), Quantize(4)
    answer = encode_images(Then((blur, few)).around(trained), batch.images)
    assert torch.allclose(answer, trained.encode_image(few.clean(blur.clean(batch.images))), atol=1e-6)
    assert not torch.allclose(answer, trained.encode_image(blur.clean(few.clean(batch.images))), atol=1e-3)
    assert Then((blur, few)).twin() == Then((blur, few.twin()))
    assert Then((Ensemble(), Ensemble(Views(("same", "blur"))))).passes == 16
