"""Stages adapt and adaptive from end to end on a tiny world: what they say they write is there, and hangs together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from immunize import models
from immunize.adaptation import journal, storage
from immunize.adaptation.adapted import Adapted
from immunize.adaptation.contest import HEADROOM, YARDSTICKS
from immunize.adaptation.payoffs import ABSTAIN, Payoffs
from immunize.config import ConfigurationError, parse
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.scenes import Scenes
from immunize.evaluation.results import read_all
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.stages import adapt, adaptive, verify

BALL = {"norm": "linf", "eps": "8/255"}
PGD = {"kind": "pgd", "threat": BALL, "steps": 1}
VERIFY = {
    "answers": "immunize/mine",
    "clean": "pretrain",
    "fit": 30,
    "bank": 32,
    "sample": 4,
    "head": {"kind": "logistic"},
    "settings": {"alpha": 0.1},
    "train": {"pgd": PGD},
    "unseen": {"noise": {"kind": "noise", "threat": BALL}},
}
ADAPT = {
    "models": {"robust": "immunize/mine", "clean": "pretrain"},
    "attacked": "robust",
    "actions": {
        "robust": {"model": "robust", "defense": {"kind": "none"}},
        "denoise": {"model": "robust", "defense": {"kind": "denoise", "vocabulary": "models/tiny/verify/words.txt"}},
        "blur": {"model": "robust", "defense": {"kind": "blur", "sigma": 0.75}},
        "clean": {"model": "clean", "defense": {"kind": "none"}},
    },
    "regimes": {"image": PGD, "through": PGD},
    "through": {"through": "blur"},
    "held_out": {"noise": {"kind": "noise", "threat": BALL}},
    "contenders": {
        "threshold": {"kind": "threshold", "streams": 2},
        "filter": {"kind": "hidden_markov", "streams": 2},
        "ucb": {"kind": "linear_ucb"},
    },
    "ship": ["threshold", "filter"],
    "stream": {"dwell": 10, "length": 30, "batch": 4},
    "streams": 2,
    "seeds": 1,
    "items": 10,
    "abstain": 0.5,  # more than any answer earns: an adapted model that always abstained would be found out
}
EVALUATE = {
    "attacks": {"clean": None, "image": PGD},
    "sample": 4,
    "sweep": {"attack": PGD, "eps": [0, "8/255"], "images": 4},
    "probe": 0,
    "kept": 2,
}
ADAPTIVE = {
    "items": 4,
    "static": {"mine": "immunize/mine"},
    "attacks": {"oblivious": {"kind": "oblivious", "attack": PGD}},
}


@pytest.fixture(scope="module")
def project(trained: Clip, small: Small, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which verify, adapt and adaptive have run, in that order."""
    root = tmp_path_factory.mktemp("adapting")
    (root / "presets").mkdir()
    sections = {"verify": VERIFY, "adapt": ADAPT, "evaluate": EVALUATE, "adaptive": ADAPTIVE}
    (root / "presets" / "tiny.yaml").write_text(yaml.safe_dump(sections, sort_keys=False))
    (root / "params.yaml").write_text("preset: tiny\n")
    counts = {"train": 40, "validation": 12, "test": 12, "calibration": 70}
    source = Scenes(counts=counts, size=32, captions=2, seed=3)
    collect(source, root / "data/tiny/collect", size=32, max_characters=300, max_rejected=0.0)
    models.save(trained, root / "models/tiny/immunize/mine")
    models.save(small.make(pairs.captions, 1), root / "models/tiny/pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (verify, adapt, adaptive):
            stage.main()
    return root


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(finite(one) for one in value.values())
    return not isinstance(value, float) or math.isfinite(value)


def test_payoffs_of_both_splits(here: Path) -> None:
    for split in ("validation", "test"):
        found = Payoffs.read(here / "models/tiny/adapt/payoffs" / split)
        assert found.regimes == ("clean", "image", "through", "noise", "shift") and len(found) == 10
        assert found.actions == (*ADAPT["actions"], ABSTAIN) and found.names[:2] == adapt.SCORES
        assert found.reward[..., -1] == pytest.approx(0.5)
        assert not np.array_equal(found.reward[:, 1, 2], found.reward[:, 2, 2])  # blurred, what was made through it
    names = [set(Pairs.read(here / "data/tiny/collect", split, 10).image_ids) for split in ("validation", "test")]
    assert not names[0] & names[1]


def test_the_report(here: Path) -> None:
    report = json.loads((here / "reports/tiny/adapt/adaptation.json").read_text())
    assert finite(report) and report["preset"] == "tiny" and set(report["versions"]) == {"A", "B", "C"}
    assert report["shipped"] == report["versions"]["A"]["shipped"]
    for name, one in report["versions"].items():
        assert one["shipped"] in ("best_fixed", *ADAPT["ship"])
        assert one["headroom"] >= HEADROOM or one["shipped"] == "best_fixed"
        assert set(one["contenders"]) == {*YARDSTICKS, *ADAPT["contenders"]}
        assert set(one["leads"]) == set(one["contenders"]) - {one["shipped"]}
        assert all(lead["low"] <= lead["mean"] <= lead["high"] for lead in one["leads"].values())
        assert one["measure"] == ("gain" if name == "A" else "earned")
        assert set(one["contenders"]["oracle"]["by_regime"]) == {
            "clean",
            "image",
            "through",
            "shift",
        }  # none that is held out
    table, payoffs = report["table"], Payoffs.read(here / "models/tiny/adapt/payoffs/test")
    for z, regime in enumerate(payoffs.regimes):
        for a, action in enumerate(payoffs.actions):
            assert table["reward"][regime][action] == pytest.approx(payoffs.reward[:, z, a].mean(), abs=1e-4)
            assert table["correct"][regime][action] == pytest.approx(100 * payoffs.correct[:, z, a].mean(), abs=1e-3)
    assert set(report["held_out"]) == {"noise"} and set(table["latency"]) == set(payoffs.actions)


def test_the_journal_is_one_stream_of_the_shipped_policy(here: Path) -> None:
    decisions = journal.read(here / "reports/tiny/adapt/journal.jsonl")
    assert [one.step for one in decisions] == list(range(30))
    assert {one.action for one in decisions} <= {*ADAPT["actions"], ABSTAIN}
    assert all(set(one.scores) == set(adapt.SCORES) and one.reason for one in decisions)


def test_the_model_that_is_saved(here: Path) -> None:
    report = json.loads((here / "reports/tiny/adapt/adaptation.json").read_text())
    adapted = storage.load("models/tiny/adapt")
    assert adapted.actions == (*ADAPT["actions"], ABSTAIN) and adapted.batch == 4
    assert adapted.resting == report["resting"] != ABSTAIN
    payoffs = Payoffs.read(here / "models/tiny/adapt/payoffs/validation")
    earned = dict(zip(payoffs.actions, payoffs.reward[:, 0].mean(axis=0)))
    assert earned[adapted.resting] == max(value for name, value in earned.items() if name != ABSTAIN)
    pairs = Pairs.read(here / "data/tiny/collect", "test")
    found = adapted.respond(pairs.images[:6].float() / 255, pairs.captions[:12:2])
    assert torch.isfinite(found.image).all() and len(adapted.decisions) == 2
    weights = here / "models/tiny/pretrain/model.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-4] + b"\0\0\1\0")
        with pytest.raises(ValueError, match="pretrain are not those that the policy was learnt on"):
            storage.load("models/tiny/adapt")
    finally:
        weights.write_bytes(before)


def test_adaptive_writes_the_ordinary_results_too(here: Path) -> None:
    by_attack = read_all(here / "reports/tiny/results")["adapted"]
    assert {name: len(one.image_ids) for name, one in by_attack.items()} == {"clean": 12, "image": 4}
    assert {one.model_hash for one in by_attack.values()} == {models.digest(here / "models/tiny/adapt")}
    assert (here / "reports/tiny/results/adapted/sweep.json").exists()
    assert (here / "reports/tiny/adversarial/adapted/image/images.parquet").exists()


def test_adaptive_compares_with_the_static_model(here: Path) -> None:
    summary = json.loads((here / "reports/tiny/adaptive/summary.json").read_text())
    assert summary["items"] == 4 and summary["preset"] == "tiny" and finite(summary)
    for name in ("adapted", "mine"):
        table = json.loads((here / f"reports/tiny/adaptive/{name}.json").read_text())
        assert set(table["rows"]) == {"clean", "oblivious", "worst"} and len(table["image_ids"]) == 4
        wrong = np.array(table["rows"]["worst"]["wrong"])
        assert summary[name]["robust_accuracy"]["percent"] == pytest.approx(100 * (~wrong).mean())
        for share in ("right_or_flagged", "robust_accuracy", "clean_accuracy", "false_positives"):
            assert summary[name][share]["low"] <= summary[name][share]["percent"] <= summary[name][share]["high"]
    assert summary["mine"]["false_positives"]["percent"] == 0


def test_the_probe_is_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each serving of the adapted model is its first, while it is attacked."""
    asked: list[tuple[object, object, int]] = []

    def noting(system: object, batch: object, attacks: object, **how: object) -> object:
        asked.append((system, how["probe"], how["draws"]))  # type: ignore[arg-type]
        raise InterruptedError

    preset = yaml.safe_load(Path("presets/tiny.yaml").read_text())
    probe = {"attack": PGD | {"objective": "margin"}}
    changed = preset | {"adaptive": preset["adaptive"] | {"probe": probe, "draws": 2}}
    monkeypatch.setattr(adaptive, "load", lambda name, kind: parse(changed[name], kind, name))
    monkeypatch.setattr(adaptive.ordinary, "main", lambda name: None)
    monkeypatch.setattr(adaptive, "evaluate", noting)
    with pytest.raises(InterruptedError):
        adaptive.main()
    ((system, given, draws),) = asked
    assert isinstance(system, Adapted) and system.afresh and given is not None and draws == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacked": "other"}, "no model other"),
        ({"ship": ["threshold", "nobody"]}, "no contender nobody"),
        ({"ship": []}, "each names at least one"),
        ({"ship": ["threshold", "ucb"]}, "ship: ucb learns from rewards"),
        ({"through": {"nowhere": "blur"}}, "no regime nowhere"),
        ({"through": {"image": "nothing"}}, "no action nothing"),
    ],
)
def test_what_is_not_there_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(ADAPT | change, adapt.Params, "adapt")
