"""What counts as a success, item by item, against cases worked out by hand; the table, its JSON, its errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from immunize.attacks import PGD
from immunize.batch import Batch
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.evaluation.adaptive import Oblivious, Response, Row, Share, Static, Table, Target, evaluate, paired
from immunize.evaluation.adaptive.system import Known
from immunize.evaluation.adaptive.verdict import joined, served, worst
from immunize.metrics.interval import wilson
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Ball

ASCENT = PGD(Ball("linf", 3 / 255), steps=10, step=0.2, objective="margin")


class Told:
    """Answers what it is told, servings in turn: the cosine with the own caption, flags, actions."""

    actions = ("a", "b")
    threshold = inf

    def __init__(self, model: Any, servings: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        self.model, self.servings, self.at = model, list(servings), 0

    def under(self, action: str) -> Any:
        return self.model

    def suspicion(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        return images.flatten(1).sum(dim=1) * 0

    def respond(self, images: Tensor, captions: Sequence[str]) -> Response:
        image, flagged, action = self.servings[self.at % len(self.servings)]
        self.at += 1
        return Response(image, self.model.encode_text(self.model.tokenize(captions)), flagged, action)


def row(**changed: Any) -> Row:
    lists = {name: [False] * 3 for name in ("wrong", "unflagged", "success", "ever")}
    rest = {"rate": [0.0] * 3, "actions": {"a": 3}, "candidates": {"x": 0}, "draws": 1}
    return Row(**{**lists, **rest, "forwards": 2.0, "backwards": 1.0, "seconds": 0.5, **changed})


def test_wrong_and_unflagged_by_hand(robust: Any, quarters: Batch) -> None:
    """Four pairs: right, wrong, wrong and flagged, right and flagged; the second serving has the third pass."""
    text = torch.eye(4, 5)
    image = text[[0, 2, 3, 3]]
    first = (image, torch.tensor([False, False, True, True]), torch.tensor([0, 1, 1, 0]))
    second = (image, torch.tensor([False, True, False, True]), torch.tensor([0, 1, 1, 0]))
    told = served(Known(Told(robust, [first, second])), {"x": quarters}, draws=2)
    assert told.wrong == [False, True, True, False] and told.unflagged == [True, True, False, False]
    assert told.success == [False, True, False, False] and told.ever == [False, True, True, False]
    assert told.rate == [0.0, 0.5, 0.5, 0.0]
    assert told.actions == {"a": 2, "b": 2} and told.candidates == {"x": 1}


def test_a_success_is_one_candidate_that_does_both(robust: Any, quarters: Batch) -> None:
    """Wrong in one candidate and unflagged in another is no success: the attacker has to show one of them."""
    right, wrong = torch.eye(4, 5), torch.eye(4, 5)[[1, 2, 3, 0]]
    flags, calm = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64)
    told = Told(robust, [(wrong, flags, calm), (right, ~flags, calm)])
    both = served(Known(told), {"x": quarters, "y": quarters}, draws=1)
    assert all(both.wrong) and all(both.unflagged) and not any(both.success)


def test_the_worst_is_the_union_item_by_item() -> None:
    a = row(success=[True, False, False], wrong=[True, True, False], rate=[1.0, 0.0, 0.0])
    b = row(success=[False, True, False], wrong=[False, True, False], rate=[0.5, 0.25, 0.0])
    both = worst([a, b])
    assert both.success == [True, True, False] and both.wrong == [True, True, False]
    assert both.rate == [1.0, 0.25, 0.0] and both.forwards == 4.0 and both.actions == {"a": 6}


def test_blocks_are_joined_in_order() -> None:
    whole = joined([row(success=[True, False, False]), replace_first(row(), 5.0)])
    assert whole.success == [True] + [False] * 5 and whole.forwards == 3.5 and whole.candidates == {"x": 0}


def replace_first(one: Row, forwards: float) -> Row:
    return replace(one, forwards=forwards)


def test_a_share_has_its_interval() -> None:
    share = Share.of([True, False, False, False])
    assert (share.percent, share.low, share.high) == (25.0, wilson(1, 4).low, wilson(1, 4).high)


def test_the_margin_is_that_of_the_own_caption_as_it_came_back(trained: Clip, pairs: Pairs) -> None:
    """Against a loop over texts: another image's caption in the same words is no wrong answer."""
    batch = paired(pairs.batch(torch.arange(8)))
    doubled = replace(batch, gallery=(batch.captions[0], "a dog"))
    rows = torch.arange(8)
    with Target.of(Static(trained), doubled) as target:
        got = target.serve(doubled.images, rows).margin.tolist()
    scale = float(trained.logit_scale.detach())
    image, text = encode_images(trained, doubled.images), encode_captions(trained, doubled.captions + doubled.gallery)
    texts = doubled.captions + doubled.gallery
    for i in range(8):
        own = float(image[i] @ text[i])
        rival = max(float(image[i] @ text[k]) for k, words in enumerate(texts) if words != texts[i])
        assert got[i] == pytest.approx(scale * (rival - own), abs=1e-3)


def test_a_static_model_has_its_plain_robust_accuracy(trained: Clip, pairs: Pairs) -> None:
    """One model, no detector: success is error, and the attack's own count is the table's up to the rounding."""
    batch = paired(pairs.batch(torch.arange(12)))
    table = evaluate(Static(trained), batch, {"pgd": Oblivious(replace(ASCENT, threat=Ball("linf", 8 / 255)))})
    assert table.rows["pgd"].wrong == table.rows["pgd"].success and all(table.rows["pgd"].unflagged)
    image, text = encode_images(trained, batch.images), encode_captions(trained, batch.captions)
    right = (image @ text.T).argmax(dim=1) == torch.arange(12)
    assert table.clean_accuracy.percent == pytest.approx(100 * float(right.float().mean()), abs=0.1)
    assert table.robust_accuracy.percent == table.right_or_flagged.percent < table.clean_accuracy.percent
    assert table.threshold is None and table.false_positives.percent == 0


def test_the_worst_row_never_is_below_another(make: Any, fragile: Any, plain: Batch) -> None:
    limit = float(1.3 * make.roughness(plain.images).max())
    table = evaluate(make.Planted({"none": fragile}, make.roughness, limit), plain, {"a": Oblivious(ASCENT)})
    for one in table.rows.values():
        assert all(a <= b for a, b in zip(one.success, table.rows["worst"].success))
    assert table.attack_success.percent + table.right_or_flagged.percent == 100


def test_blocks_change_nothing(fragile: Any, plain: Batch) -> None:
    whole, parts = (evaluate(Static(fragile), plain, {"a": Oblivious(ASCENT)}, block=block) for block in (8, 3))
    timeless = [{name: replace(one, seconds=0.0) for name, one in table.rows.items()} for table in (whole, parts)]
    assert timeless[0] == timeless[1]


def test_the_result_is_json_and_comes_back(tmp_path: Path, fragile: Any, plain: Batch) -> None:
    table = evaluate(Static(fragile), plain, {"a": Oblivious(ASCENT)})
    table.write(tmp_path / "adaptive.json")
    again = parse(json.loads((tmp_path / "adaptive.json").read_text()), Table, "adaptive.json")
    assert again == table and list(table.rows) == ["clean", "a", "worst"]
    lines = table.lines()
    assert len({len(line) for line in lines}) == 1 and lines[-1].startswith("worst")


def test_pairs_are_their_images_with_the_first_caption(trained: Clip, pairs: Pairs) -> None:
    whole = pairs.batch(torch.tensor([2, 0]))
    two = paired(whole)
    assert two.captions == (whole.captions[0], whole.captions[2]) and two.owner.tolist() == [0, 1]
    table = evaluate(Static(trained), pairs.head(4), {})
    assert table.image_ids == list(pairs.image_ids[:4]) and table.rows["worst"].success == table.rows["clean"].success


def test_errors_say_what_to_do(robust: Any, quarters: Batch, pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="call yours something else"):
        evaluate(Static(robust), quarters, {"worst": Oblivious(ASCENT)})
    with pytest.raises(ValueError, match=r"'x' is no action of the system; it has none"):
        Known(Static(robust)).under("x")
    with (
        pytest.raises(ValueError, match="paired"),
        Target.of(Static(robust), pairs.batch(torch.tensor([1]))),
    ):
        pass
    with pytest.raises(ValueError, match="2 of 4 images have no caption"):
        paired(replace(quarters, captions=("ash", "elm"), caption_ids=("a", "b"), owner=torch.tensor([0, 3])))
    nan = (torch.full((4, 5), torch.nan), torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="not finite"):
        evaluate(Told(robust, [nan]), quarters, {})
