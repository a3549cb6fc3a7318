"""metrics.json against numbers worked by hand from the fabricated shares."""

from dataclasses import replace
from pathlib import Path

import pytest

from immunize.evaluation.results import Result, ResultError, read_all
from immunize.metrics.interval import wilson
from immunize.report import Settings, summarize
from immunize.report.summary import worst

Results = dict[str, dict[str, Result]]


@pytest.fixture
def results(run: Path) -> Results:
    return read_all(run / "reports/toy/results")


def test_recall_and_success_by_hand(results: Results) -> None:
    cell = summarize(results, Settings())["finetune"]["image"]
    # 9 of 10 right before, 1 of 10 after, and that one was among the nine
    assert (cell["tr_r1"], cell["ir_r1"]) == (10.0, 10.0)
    assert (cell["tr_asr"], cell["tr_asr_conditional"]) == (80.0, 88.89)
    within_5 = [rank < 5 for rank in results["finetune"]["image"].caption_rank]
    assert cell["ir_r5"] == round(100 * sum(within_5) / 40, 2)


def test_the_keys_others_rely_on(results: Results) -> None:
    metrics = summarize(results, Settings())
    recalls = {f"{w}_{n}" for w in ("tr", "ir") for n in ("r1", "r5", "r10", "r1_low", "r1_high")}
    assert set(metrics["mat"]["clean"]) == recalls
    assert set(metrics["mat"]) == {"clean", "image", "text", "joint", "worst", "square", "hot_flip"}
    assert set(metrics["mat"]["worst"]) == set(metrics["mat"]["joint"])
    assert set(metrics["mat"]["joint"]) - recalls == {f"{w}_asr{c}" for w in ("tr", "ir") for c in ("", "_conditional")}
    assert list(metrics["mat"]["joint"]) == sorted(metrics["mat"]["joint"])
    for cell in (c for by_attack in metrics.values() for c in by_attack.values()):
        assert cell["tr_r1_low"] <= cell["tr_r1"] <= cell["tr_r1_high"]
        assert cell["ir_r1_low"] <= cell["ir_r1"] <= cell["ir_r1_high"]


def test_captions_count_by_image(results: Results) -> None:
    """Each caption its own image: an interval as if captions were independent, so a narrower one."""
    clustered = summarize(results, Settings())["mat"]["clean"]
    joined = replace(results["mat"]["clean"], owner=[i // 10 for i in range(40)])
    coarse = summarize({"mat": {"clean": joined}}, Settings())["mat"]["clean"]
    assert coarse["ir_r1_high"] - coarse["ir_r1_low"] < clustered["ir_r1_high"] - clustered["ir_r1_low"]


def test_nothing_right_is_not_certainty(results: Results) -> None:
    cell = summarize(results, Settings())["finetune"]["joint"]
    assert (cell["tr_r1"], cell["tr_r1_low"]) == (0.0, 0.0)
    assert cell["tr_r1_high"] == cell["ir_r1_high"] == round(wilson(0, 20).high, 2)


def test_an_attack_on_the_first_images_is_compared_with_those(results: Results) -> None:
    whole = results["finetune"]["image"]
    four = replace(
        whole,
        image_ids=whole.image_ids[:4],
        image_rank=[0, 3, 0, 3],
        linf=whole.linf[:4],
        caption_ids=whole.caption_ids[:8],
        owner=whole.owner[:8],
        caption_rank=[5] * 8,
        similarity=whole.similarity[:8],
        changed_words=whole.changed_words[:8],
        success=[],
        forwards=[],
        backwards=[],
        texts=[],
    )
    clean = results["finetune"]["clean"]
    cell = summarize({"finetune": {"image": four, "clean": clean}}, Settings())["finetune"]["image"]
    right = [rank < 1 for rank in clean.image_rank[:4]]
    lost = right[1] + right[3]
    assert (cell["tr_r1"], cell["ir_r1"]) == (50.0, 0.0)
    assert cell["tr_asr"] == 25.0 * sum(right) - 50.0
    assert cell["tr_asr_conditional"] == round(100 * lost / sum(right), 2)


def test_an_attack_needs_the_clean_result_of_the_same_examples(results: Results) -> None:
    joint, clean = results["mat"]["joint"], results["mat"]["clean"]
    with pytest.raises(ResultError, match="mat/joint has no mat/clean"):
        summarize({"mat": {"joint": joint}}, Settings())
    other = replace(clean, image_ids=clean.image_ids[::-1])
    with pytest.raises(ResultError, match="different examples"):
        summarize({"mat": {"joint": joint, "clean": other}}, Settings())


def test_the_worst_of_all_attacks_example_by_example(results: Results) -> None:
    """Against a loop; an attack on the first ten images counts for those alone."""
    by_attack = results["mat"]
    found = worst([one for one in by_attack.values() if one.attack != "clean"], by_attack["clean"])
    for ranks, of in ((found.image_rank, lambda r: r.image_rank), (found.caption_rank, lambda r: r.caption_rank)):
        for i, rank in enumerate(ranks):
            assert rank == max(of(one)[i] for one in by_attack.values() if i < len(of(one)))
    cell = summarize(results, Settings())["mat"]["worst"]
    assert cell["tr_r1"] == 100 * sum(rank < 1 for rank in found.image_rank) / 20
    assert cell["tr_asr"] == 80.0 - cell["tr_r1"] and cell["tr_r1_low"] <= cell["tr_r1"] <= cell["tr_r1_high"]


def test_the_worst_counts_the_clean_pairs_too(results: Results) -> None:
    """A query that is wrong without an attack is not robust, whatever luck an attack brings it."""
    clean, joint = results["mat"]["clean"], results["mat"]["joint"]
    lucky = replace(joint, image_rank=[0] * 20, caption_rank=[0] * 40)
    assert worst([lucky], clean).image_rank == clean.image_rank
    assert worst([lucky], clean).caption_rank == clean.caption_rank


def test_images_that_no_attack_was_on_are_not_counted(results: Results) -> None:
    """Attacks on ten of twenty images: the other ten would pass for robust."""
    some = {name: results["mat"][name] for name in ("clean", "square", "hot_flip")}
    found = worst([some["square"], some["hot_flip"]], some["clean"])
    assert len(found.image_rank) == 10 and len(found.caption_rank) == 20
    right = [all(one.image_rank[i] == 0 for one in some.values()) for i in range(10)]
    cell = summarize({"mat": some}, Settings())["mat"]["worst"]
    assert cell["tr_r1"] == 10.0 * sum(right) <= 10.0


def test_one_attack_has_no_worst_and_none_may_take_its_name(results: Results) -> None:
    clean, joint, image = (results["mat"][name] for name in ("clean", "joint", "image"))
    assert set(summarize({"mat": {"clean": clean, "joint": joint}}, Settings())["mat"]) == {"clean", "joint"}
    alone = {"clean": clean, "worst": replace(joint, attack="worst")}
    assert summarize({"mat": alone}, Settings())["mat"]["worst"]["tr_r1"] == 30.0
    with pytest.raises(ResultError, match="mat/worst: that is the name of all attacks together"):
        summarize({"mat": alone | {"image": image}}, Settings())
