"""An adapted model on disk: it comes back as it was, through `models.load` too, and nothing it stands on may change unseen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from immunize import models
from immunize.adaptation import storage
from immunize.adaptation.adapted import Adapted
from immunize.adaptation.payoffs import ABSTAIN
from immunize.evaluation.adaptive import Response
from immunize.models import Clip
from immunize.serving import Blur, Jpeg

from .conftest import Shelf

NAMES = {"adapted.json", "policy.json", "policy.safetensors"}
ENTRY = EntryPoint("adapted", "immunize.adaptation.storage:load", "immunize.models")


@pytest.fixture
def moved(shelf: Shelf, tmp_path: Path) -> Shelf:
    """The same models and verifier at a place of one's own, and the adapted model saved anew, to be spoiled."""
    shutil.copytree(shelf.folder, tmp_path / "shelf")
    at = {old: str(tmp_path / "shelf" / Path(old).name) for old in (f"{shelf.folder}/robust", f"{shelf.folder}/clean")}
    actions = {name: (at[folder], defense) for name, (folder, defense) in shelf.plan.actions.items()}
    plan = replace(shelf.plan, actions=actions, verifier=str(tmp_path / "shelf/verify"))
    storage.save(plan, shelf.shipped, tmp_path / "shelf/adapt")
    return replace(shelf, folder=tmp_path / "shelf", plan=plan)


def test_the_same_answers_and_decisions_after_a_journey(shelf: Shelf, adapted: Adapted, tmp_path: Path) -> None:
    storage.save(shelf.plan, adapted.shipped, tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} == NAMES
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (shelf.folder / "adapt" / name).read_bytes()
    other = storage.load(str(tmp_path / "again"))
    assert (other.actions, other.resting, other.batch) == (adapted.actions, "robust", 4)
    for traffic in (shelf.calm, shelf.odd):
        one, two = adapted.respond(*traffic), other.respond(*traffic)
        assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in Response.__slots__)
    assert other.decisions == adapted.decisions and len(other.decisions) == 8


def test_each_action_is_the_defense_around_the_model_that_the_plan_says(shelf: Shelf, trained: Clip) -> None:
    """Hard transforms answer, twins with gradients are attacked."""
    folder = shelf.folder / "rounded"
    robust, clean = (shelf.plan.actions[name][0] for name in ("robust", "clean"))
    defenses = {"robust": (robust, Jpeg(quality=20)), "blur": (robust, Blur(sigma=1.0)), "clean": (clean, Blur())}
    storage.save(replace(shelf.plan, actions=defenses), shelf.shipped, folder)
    adapted, images = storage.load(folder), shelf.calm[0][:3].clone().requires_grad_()
    for name, (at, defense) in defenses.items():
        model = models.load(at)
        expected = defense.around(model).encode_image(images.detach())
        torch.testing.assert_close(adapted.defended[name].encode_image(images.detach()), expected)
        twin = adapted.under(name).encode_image(images)
        torch.testing.assert_close(twin, defense.twin().around(model).encode_image(images))
        (slope,) = torch.autograd.grad(twin[:, 0].sum(), images)
        assert (slope.flatten(1).norm(dim=1) > 0).all()


def test_models_load_reads_it_by_the_entry_point(
    shelf: Shelf, adapted: Adapted, trained: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "entry_points", lambda group: [ENTRY] if group == ENTRY.group else [])
    loaded = models.load(shelf.folder / "adapt")
    assert isinstance(loaded, Adapted) and isinstance(models.load(str(shelf.folder / "adapt")), Adapted)
    images = shelf.calm[0]
    with torch.no_grad():
        assert torch.equal(loaded.encode_image(images), trained.encode_image(images))
    assert isinstance(models.load(shelf.folder / "robust"), Clip)
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json"):
        models.load(shelf.folder)
    monkeypatch.setattr(models, "entry_points", lambda group: [])
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json"):
        models.load(shelf.folder / "adapt")


def test_the_project_declares_the_entry_point() -> None:
    lines = (Path(__file__).parents[2] / "pyproject.toml").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f'[project.entry-points."{ENTRY.group}"]'))
    assert lines[place + 1] == f'{ENTRY.name} = "{ENTRY.value}"'
    assert callable(ENTRY.load()) and f"{ENTRY.name}.json" == storage.DESCRIPTION


@pytest.mark.parametrize(
    "spoiled", ["robust/model.safetensors", "clean/model.safetensors", "verify/verifier.safetensors"]
)
def test_what_it_stands_on_may_not_change(moved: Shelf, spoiled: str) -> None:
    moved.load()
    path = moved.folder / spoiled
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\1\0")
    with pytest.raises(
        ValueError, match=f"weights in .*{path.parent.name} are not those that the policy was learnt on"
    ):
        moved.load()


def test_the_digest_changes_with_what_it_stands_on(moved: Shelf) -> None:
    """A result names the adapted model by it: another model below, another policy, or another plan is another model."""
    folder = moved.folder / "adapt"
    before = models.digest(folder)
    storage.save(moved.plan, moved.shipped, folder)
    assert models.digest(folder) == before
    storage.save(replace(moved.plan, batch=5), moved.shipped, folder)
    other = models.digest(folder)
    path = moved.folder / "robust/model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\1\0")
    storage.save(moved.plan, moved.shipped, folder)
    assert len({before, other, models.digest(folder)}) == 3


def test_what_is_off_is_said(moved: Shelf, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/adapted\.json does not exist: .*dvc repro adapt"):
        storage.load(tmp_path / "nowhere")
    path = moved.folder / "adapt" / storage.DESCRIPTION
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"schema": 0}))
    with pytest.raises(ValueError, match="has schema 0, this version reads 1"):
        moved.load()
    path.write_text(json.dumps(said | {"resting": ABSTAIN}))
    with pytest.raises(ValueError, match="no model answers under abstain"):
        moved.load()
    path.write_text(json.dumps(said))
    shutil.rmtree(moved.folder / "clean")
    with pytest.raises(FileNotFoundError, match="clean holds no model"):
        moved.load()
