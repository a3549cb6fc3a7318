"""`immunize attack --classes`: images with a label, or with the model's own answer for one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result as Outcome
from PIL import Image

from immunize.evaluation import results

Cli = Callable[..., Outcome]
Folder = Callable[..., Path]


PROMPTS = ["a small red circle", "a large blue square", "a green star"]


def test_classes_with_labels(cli: Cli, tmp_path: Path, labeled: Folder) -> None:
    """Labels are line numbers or the lines themselves; accuracies against the recorded answers."""
    Path("classes.txt").write_text("\n".join(PROMPTS) + "\n\n")
    labeled(tmp_path / "photos", [0, 2, PROMPTS[1], PROMPTS[2]])
    arguments = ["--classes", "classes.txt", "--pairs", "photos", "--attack", "pgd", "--eps", "16/255", "--seed", "3"]
    outcome = cli("attack", *arguments)
    assert outcome.exit_code == 0, outcome.output
    said = json.loads(Path("out/record.json").read_text())
    assert said["label"] == [0, 2, 1, 2] and said["truth"] == "given" and said["classes"] == PROMPTS
    for when, answers in (("clean", said["clean"]), ("robust", said["robust"])):
        right = sum(a == b for a, b in zip(answers, said["label"], strict=True))
        assert said[f"accuracy_{when}"] == 25.0 * right
    assert f"| pgd | {said['accuracy_clean']:.1f} | {said['accuracy_robust']:.1f} |" in outcome.stdout
    assert "taken for the truth" not in outcome.stdout and "4 images, 3 classes" in outcome.stdout
    assert 0 < max(said["linf"]) <= 16.5 / 255 and said["forwards"] == [11] * 4 and said["schema"] == results.SCHEMA
    assert pq.read_table("out/images.parquet")["image_id"].to_pylist() == said["image_ids"]
    assert not Path("out/captions.parquet").exists()
    with Image.open("out/contact_sheet.png") as sheet:
        assert np.asarray(sheet).std() > 20


def test_classes_without_labels_are_the_models_own_answers(cli: Cli) -> None:
    Path("classes.txt").write_text("\n".join(PROMPTS))
    outcome = cli("attack", "--classes", "classes.txt", "--attack", "square", "--queries", "5", "--limit", "4")
    assert outcome.exit_code == 0, outcome.output
    said = json.loads(Path("out/record.json").read_text())
    assert said["label"] == said["clean"] and said["accuracy_clean"] == 100.0 and said["truth"] == "clean prediction"
    assert "No image has a label: the model's answer on the clean image was taken for the truth." in outcome.stdout


@pytest.mark.parametrize(
    ("classes", "labels", "attack", "says"),
    [
        (PROMPTS, [0, None], "pgd", "b has label None: neither a line of --classes nor its number from 0"),
        (PROMPTS, [0, 3], "pgd", "b has label 3"),
        (PROMPTS, [0, True], "pgd", "b has label True"),
        (PROMPTS[:1], [0, 0], "pgd", "needs one prompt a line, two or more and all different; it has 1"),
        (PROMPTS[:1] * 2, [0, 0], "pgd", "all different; it has 2"),
        (PROMPTS, [0, 1], "bert_attack", "bert_attack changes captions, and a class has a prompt that is given"),
        (PROMPTS, [0, 1], "sga", "sga changes captions"),
    ],
)
def test_classes_that_make_no_sense(
    cli: Cli, tmp_path: Path, classes: list[str], labels: list[object], attack: str, says: str, labeled: Folder
) -> None:
    Path("classes.txt").write_text("\n".join(classes))
    labeled(tmp_path / "photos", labels)
    outcome = cli("attack", "--classes", "classes.txt", "--pairs", "photos", "--attack", attack)
    assert outcome.exit_code == 2 and says in outcome.stderr.splitlines()[-1]  # after what was collected


def test_a_target_among_classes(cli: Cli) -> None:
    """What the model says of the clean images is a target that is reached, where an untargeted attack would fail."""
    Path("classes.txt").write_text("\n".join(PROMPTS))
    for target in (1, 2):
        arguments = ("--classes", "classes.txt", "--attack", "pgd", "--eps", "8/255", "--targets", PROMPTS[target])
        outcome = cli("attack", *arguments)
        assert outcome.exit_code == 0, outcome.output
        said = json.loads(Path("out/record.json").read_text())
        assert said["success"] == [answer == target for answer in said["robust"]]
        assert any(said["success"]) or target not in said["clean"]


def test_a_file_outside_the_folder_is_no_image_of_it(cli: Cli, tmp_path: Path, labeled: Folder) -> None:
    Path("classes.txt").write_text("\n".join(PROMPTS))
    folder = labeled(tmp_path / "photos", [0, 1])
    shutil.copy(folder / "a.png", tmp_path / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "../a.png", "label": 0}))
    outcome = cli("attack", "--classes", "classes.txt", "--pairs", "photos", "--attack", "pgd")
    assert outcome.exit_code == 2 and "metadata.jsonl line 1: 'file_name' is no file in" in outcome.stderr
