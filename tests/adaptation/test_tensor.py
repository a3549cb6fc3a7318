"""The filling of payoffs against a loop over pairs, with two dummy defenses on a tiny model."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from immunize.adaptation.tensor import fill, served
from immunize.batch import Embedding, Image
from immunize.data.loader import Pairs
from immunize.models import Clip, DualEncoder
from immunize.models.wrapped import Wrapped


class Blurred(Wrapped):
    """A defense that throws detail away."""

    def encode_image(self, images: Image) -> Embedding:
        return self.model.encode_image(interpolate(avg_pool2d(images, 2), images.shape[-2:]))


class Lowered(Wrapped):
    """A defense in the tokenizer."""

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return self.model.tokenize([caption.replace("zz", "") for caption in captions])


class Blur:
    def around(self, model: DualEncoder) -> DualEncoder:
        return Blurred(model)


class Lower:
    def around(self, model: DualEncoder) -> DualEncoder:
        return Lowered(model)


def evidence(images: Tensor, captions: Sequence[str]) -> Tensor:
    return torch.stack([images.mean(dim=(1, 2, 3)), torch.tensor([float(len(c)) for c in captions])], dim=1)


@pytest.fixture(scope="module")
def regimes(held_out: Pairs) -> dict[str, Pairs]:
    noise = torch.randint(0, 90, held_out.images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shaken = replace(held_out, images=(held_out.images // 2 + noise))
    misspelt = replace(held_out, captions=tuple(caption.replace("e", "zze") for caption in held_out.captions))
    return {"clean": held_out, "image": shaken, "text": misspelt}


@pytest.fixture(scope="module")
def actions(trained: Clip) -> dict[str, DualEncoder]:
    return {"none": trained, **served({"clip": trained}, {"blur": Blur(), "lower": Lower()})}


def test_against_a_loop_over_pairs(actions: dict[str, DualEncoder], regimes: dict[str, Pairs], trained: Clip) -> None:
    found = fill(actions, regimes, evidence, ("brightness", "length"), clip=4.0, block=7)
    assert found.actions == ("none", "clip blur", "clip lower") and found.regimes == ("clean", "image", "text")
    clean, scale = regimes["clean"], float(trained.logit_scale.detach())
    for z, traffic in enumerate(regimes.values()):
        for a, model in enumerate(actions.values()):
            with torch.no_grad():
                texts = torch.cat([model.encode_text(model.tokenize([c])) for c in clean.captions])
                stills = model.encode_image(clean.images.float() / 255)
                images = model.encode_image(traffic.images.float() / 255)
            for i in (0, 5, 23):
                own = [c for c, o in enumerate(clean.owner.tolist()) if o == i]
                with torch.no_grad():
                    text = model.encode_text(model.tokenize([traffic.captions[own[0]]]))[0]
                to_text, to_image = scale * (texts @ images[i]), scale * (stills @ text)
                right = torch.logsumexp(to_text[own], 0)
                loss = (torch.logsumexp(to_text, 0) - right + torch.logsumexp(to_image, 0) - to_image[i]) / 2
                wrong = (to_text.argmax() not in own) + (int(to_image.argmax()) != i)
                at = (i, z, a)
                assert found.consistency[at] == pytest.approx(float(2 - 2 * images[i] @ texts[own[0]]), abs=1e-4)
                assert found.received[at] == pytest.approx(float(2 - 2 * images[i] @ text), abs=1e-4)
                assert found.adversarial[at] == pytest.approx(min(float(loss), 4.0), abs=1e-3)
                assert found.correct[at] == 1 - wrong / 2
            mask = clean.owner[None] != torch.arange(len(images))[:, None]
            assert found.mismatched[z, a] == pytest.approx(float((images @ texts.T)[mask].mean()), abs=1e-4)


def test_the_block_changes_nothing_and_alpha_is_that_of_all(
    actions: dict[str, DualEncoder], regimes: dict[str, Pairs]
) -> None:
    one, other = (fill(actions, regimes, evidence, ("b", "l"), block=block) for block in (5, 100))
    assert one.reward == pytest.approx(other.reward, abs=1e-3) and one.features == pytest.approx(other.features)
    assert one.alpha == pytest.approx(one.consistency.std() / one.adversarial.std())
    assert (one.latency > 0).all()


def test_an_edit_that_a_defense_undoes_is_undone(actions: dict[str, DualEncoder], regimes: dict[str, Pairs]) -> None:
    found = fill(actions, regimes, evidence, ("b", "l"))
    text, lower, none = 2, 2, 0
    assert found.adversarial[:, text, lower] == pytest.approx(found.adversarial[:, 0, none], abs=1e-3)
    assert found.table[text, lower] > found.table[text, none]
    # R_true takes the clean caption, so an edited one moves its consistency by nothing; R_literal sees it
    assert np.array_equal(found.consistency[:, text, none], found.consistency[:, 0, none])
    assert not np.allclose(found.received[:, text, none], found.received[:, 0, none])


def test_batches_are_traffic_too(actions: dict[str, DualEncoder], regimes: dict[str, Pairs]) -> None:
    batches = {name: pairs.batch(torch.arange(len(pairs))) for name, pairs in regimes.items()}
    one, other = (fill(actions, traffic, evidence, ("b", "l")) for traffic in (batches, regimes))
    assert one.reward == pytest.approx(other.reward, abs=1e-4) and one.features == pytest.approx(other.features)


def test_regimes_of_other_pairs_and_evidence_of_another_width_are_refused(
    actions: dict[str, DualEncoder], regimes: dict[str, Pairs]
) -> None:
    with pytest.raises(ValueError, match="regime 'image' is of other images"):
        fill(actions, regimes | {"image": regimes["image"].head(5)}, evidence, ("b", "l"))
    with pytest.raises(ValueError, match="no regime 'clean'"):
        fill(actions, {"image": regimes["image"]}, evidence, ("b", "l"))
    with pytest.raises(ValueError, match="gives 2 features, and 1 names"):
        fill(actions, regimes, evidence, ("b",))
