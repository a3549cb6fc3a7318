"""Zero-shot accuracy against a loop over images and prompts, and truth that is given or taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, SGA, BertAttack
from immunize.data.loader import Pairs
from immunize.evaluation.classification import Classes, Classification, classified, places, record
from immunize.evaluation.results import write
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.threats import Ball


@pytest.fixture
def prompts(some: Pairs) -> tuple[str, ...]:
    return some.captions[::6]


def attacked(model: Clip, attack: PGD, some: Pairs, classes: Classes, block: int = 100) -> Classification:
    found = classified(model, attack, some, classes, seed=2, block=block)
    return record(model, attack, some, classes, found, seed=2, model_hash="m")


def test_answers_and_accuracy_against_a_loop(trained: Clip, some: Pairs, pgd: PGD, prompts: tuple[str, ...]) -> None:
    labels = torch.arange(16) % len(prompts)
    classes = Classes.of(trained, some.images, prompts, labels)
    found = classified(trained, pgd, some, classes, seed=2)
    said = record(trained, pgd, some, classes, found, seed=2, model_hash="m")
    text = encode_captions(trained, prompts)
    for images, answers, where in (
        (some.images, said.clean, said.place_clean),
        (found.images, said.robust, said.place_robust),
    ):
        for i in range(16):
            with torch.no_grad():
                cosine = (trained.encode_image(images[i][None] / 255) @ text.T)[0]
            assert answers[i] == int(cosine.argmax())
            assert where[i] == int((cosine > cosine[labels[i]]).sum())
    for accuracy, answers in ((said.accuracy_clean, said.clean), (said.accuracy_robust, said.robust)):
        assert accuracy == round(100 * sum(a == b for a, b in zip(answers, labels.tolist())) / 16, 2)
    assert said.truth == "given" and said.accuracy_robust < said.accuracy_clean + 1e-9
    change = (found.images.int() - some.images.int()).abs().flatten(1).amax(dim=1)
    assert said.linf == pytest.approx((change / 255).tolist(), abs=1e-6) and 0 < max(said.linf) <= 8.5 / 255


def test_without_labels_the_clean_answer_is_the_truth(
    trained: Clip, some: Pairs, pgd: PGD, prompts: tuple[str, ...]
) -> None:
    classes = Classes.of(trained, some.images, prompts, None)
    said = attacked(trained, pgd, some, classes)
    assert said.truth == "clean prediction" and said.label == said.clean and said.accuracy_clean == 100.0
    assert set(said.place_clean) == {0} and said.accuracy_robust < 100.0
    claims = [answer != label for answer, label in zip(said.robust, said.label)]
    assert sum(a != b for a, b in zip(claims, said.success)) <= 1  # rounding may take one back


def test_the_attack_is_the_one_on_a_batch_with_labels(
    trained: Clip, some: Pairs, pgd: PGD, prompts: tuple[str, ...]
) -> None:
    """The block changes no answer, and the images are those that the attack gives by itself."""
    classes = Classes.of(trained, some.images, prompts, None)
    gray = replace(pgd, objective="cross_entropy")
    whole, parts = (classified(trained, gray, some, classes, seed=2, block=block) for block in (100, 5))
    assert (places(trained, whole.images, prompts).argmin(1) == places(trained, parts.images, prompts).argmin(1)).all()
    batch = replace(
        some.batch(torch.arange(16)), captions=(), owner=torch.empty(0, dtype=torch.int64), caption_ids=(), truth=(),
        gallery=prompts, labels=classes.labels,
    )  # fmt: skip
    alone = gray(trained, batch, Generator().manual_seed(2))
    assert torch.equal(whole.images, (alone.images * 255).round().to(torch.uint8))


def test_a_radius_of_zero_changes_no_answer(trained: Clip, some: Pairs, prompts: tuple[str, ...]) -> None:
    classes = Classes.of(trained, some.images, prompts, None)
    said = attacked(trained, PGD(Ball("linf", 0.0), steps=2), some, classes)
    assert said.robust == said.clean and set(said.linf) == {0.0} and said.accuracy_robust == 100.0


def test_attacks_on_captions_are_refused(
    trained: Clip, some: Pairs, typing: BertAttack, joint: SGA, prompts: tuple[str, ...]
) -> None:
    classes = Classes.of(trained, some.images, prompts, None)
    for attack in (typing, joint):
        with pytest.raises(ValueError, match=f"{attack.kind} changes captions"):
            classified(trained, attack, some, classes, seed=0)


def test_the_record_is_written_as_results_are(
    trained: Clip, some: Pairs, pgd: PGD, prompts: tuple[str, ...], tmp_path: Path
) -> None:
    said = attacked(trained, pgd, some, Classes.of(trained, some.images, prompts, None))
    write(said, tmp_path / "record.json")
    write(said, tmp_path / "again.json")
    assert (tmp_path / "record.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert '"accuracy_robust": ' in (tmp_path / "record.json").read_text()
