"""The command line on a model and pairs made on the fly: what it writes, and that bad input gets one line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import Result as Outcome
from PIL import Image
from typer.testing import CliRunner

from immunize import models
from immunize.attacks import Attack, Restarts, Then, Worst
from immunize.cli import app
from immunize.cli.arsenal import Options, named, names
from immunize.config import dump
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.scenes import Scenes
from immunize.evaluation import results
from immunize.models import language
from immunize.models.encode import encode_captions, encode_images
from immunize.models.initial import Small
from immunize.models.pixels import Normalization
from immunize.pipeline.doctor import Check
from immunize.pipeline.plan import Step

Cli = Callable[..., Outcome]
SIZE = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs` (six test scenes), `model`, and `language`."""
    root = tmp_path_factory.mktemp("world")
    scenes = Scenes(counts={"test": 6}, size=SIZE, captions=2)
    collect(scenes, root / "pairs", size=SIZE, max_characters=300, max_rejected=0.0)
    captions = [caption for record in scenes.records() for caption in map(str, record.captions)]
    vision = {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": SIZE}
    initial = Small(
        vision=vision,
        text={"width": 32, "heads": 2, "layers": 1},
        normalization=Normalization(size=SIZE),
        embed_dim=16,
        trunk={"channels": [8, 8, 16, 16]},
    )
    models.save(initial.make(captions, 0), root / "model")
    with torch.random.fork_rng():
        language.fresh(captions, vocabulary=300, width=32, layers=1, length=32).save(root / "language")
    return root


@pytest.fixture
def cli(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """cli("attack", ...): run in an empty folder that has `world` beside it; --model and --pairs are filled in."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> Outcome:
        given = {"--model": str(world / "model"), "--pairs": str(world / "pairs"), "--out": "out"}
        if command in ("attack", "evaluate"):
            arguments += tuple(word for name, value in given.items() if name not in arguments for word in (name, value))
        return CliRunner().invoke(app, [command, *arguments])

    return run


def complaint(outcome: Outcome) -> str:
    """The one line of a refusal."""
    assert outcome.exit_code == 2, outcome.output
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("immunize: ")
    return line


def imagefolder(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (len(names), 6, 8, 3), dtype=np.uint8)
    for name, pixels in zip(names, noise):
        Image.fromarray(pixels).resize((48, 40)).save(folder / name)
    lines = [json.dumps({"file_name": name, "captions": [f"a red {name[0]} thing"]}) for name in names]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def test_attack_keeps_the_pairs_the_record_and_a_picture(cli: Cli) -> None:
    outcome = cli("attack", "--attack", "sga", "--eps", "8/255", "--steps", "2", "--limit", "4", "--seed", "5")
    assert outcome.exit_code == 0, outcome.output
    assert "| clean |" in outcome.stdout and "| sga |" in outcome.stdout and "4 images, 8 captions" in outcome.stdout
    record = results.read(Path("out/record.json"))
    assert record.attack == "sga" and record.seed == 5 and record.config["image"]["threat"]["eps"] == 8 / 255
    assert 0 < max(record.linf) <= 8.5 / 255 and set(record.changed_words) <= {0, 1} and any(record.changed_words)
    assert record.model_hash == models.digest(Path(record.defense))
    images, captions = pq.read_table("out/images.parquet"), pq.read_table("out/captions.parquet")
    assert images["image_id"].to_pylist() == record.image_ids
    changed = [old != new for old, new in zip(captions["original"].to_pylist(), captions["caption"].to_pylist())]
    assert changed == [count > 0 for count in record.changed_words]
    with Image.open("out/contact_sheet.png") as sheet:
        assert sheet.mode == "RGB" and sheet.getpixel((sheet.width - 1, sheet.height - 1)) == (255, 255, 255)
        assert np.asarray(sheet).std() > 20


def test_equal_seeds_give_equal_files(cli: Cli) -> None:
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert cli("attack", "--attack", "noise", "--limit", "3", "--out", out, "--seed", seed).exit_code == 0
    images = [Path(out, "images.parquet").read_bytes() for out in "abc"]
    assert images[0] == images[1] != images[2]


def test_a_language_model_takes_the_place_of_typos(cli: Cli, world: Path) -> None:
    outcome = cli("attack", "--attack", "bert_attack", "--language", str(world / "language"), "--words", "2")
    assert outcome.exit_code == 0, outcome.output
    record = results.read(Path("out/record.json"))
    assert record.config["language"] and record.config["typos"] == 0 and record.config["threat"]["words"] == 2
    known = set((world / "language" / "tokenizer.json").read_text().split('"'))
    rows = pq.read_table("out/captions.parquet").to_pylist()
    new = [b for row in rows for a, b in zip(row["original"].split(), row["caption"].split()) if a != b]
    assert new and set(new) <= known


@pytest.mark.parametrize("inside", ["", "validation"])
def test_an_imagefolder_is_collected_and_its_losses_are_told(cli: Cli, tmp_path: Path, inside: str) -> None:
    folder = imagefolder(tmp_path / "photos" / inside, ["a.png", "b.png", "c.png"])
    (folder / "b.png").write_bytes(b"no image")
    outcome = cli("attack", "--attack", "pgd", "--steps", "1", "--pairs", "photos", "--split", inside or "test")
    assert outcome.exit_code == 0, outcome.output
    assert "2 images" in outcome.stdout and "1 not_an_image" in outcome.stderr
    assert pq.read_table("out/collect/rejected.parquet")["image_id"].to_pylist() == ["b"]
    assert pq.read_table("out/images.parquet")["image_id"].to_pylist() == ["a", "c"]


def test_evaluate_prints_what_it_writes(cli: Cli) -> None:
    Path("mine.yaml").write_text("floor: {kind: noise, threat: {norm: linf, eps: 4/255}}\n")
    Path("preset.yaml").write_text(
        "evaluate: {attacks: {clean: null, text: {kind: bert_attack, threat: {}, typos: 2}}}"
    )
    for file, name in (("mine.yaml", "floor"), ("preset.yaml", "text")):
        outcome = cli("evaluate", "--attacks", file, "--out", name)
        assert outcome.exit_code == 0, outcome.output
        (cells,) = json.loads(Path(name, "metrics.json").read_text()).values()
        assert sorted(cells) == sorted(("clean", name)) and "tr_asr" in cells[name] and "tr_asr" not in cells["clean"]
        (row,) = (line for line in outcome.stdout.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {cells[name]['tr_r1']:.1f} (" in row and f"| {cells[name]['ir_r1']:.1f} (" in row
        assert results.read(Path(name, f"{name}.json")).attack == name


def test_evaluate_without_a_file_runs_image_text_and_joint(cli: Cli) -> None:
    outcome = cli("evaluate", "--limit", "2")
    assert outcome.exit_code == 0, outcome.output
    assert {path.stem for path in Path("out").glob("*.json")} == {"clean", "image", "text", "joint", "metrics"}
    (cells,) = json.loads(Path("out/metrics.json").read_text()).values()
    assert f"| worst | {cells['worst']['tr_r1']:.1f} (" in outcome.stdout
    assert cells["worst"]["tr_r1"] <= min(cells[name]["tr_r1"] for name in ("clean", "image", "text", "joint"))


def test_a_preset_brings_its_named_attacks_too(cli: Cli) -> None:
    ball = "threat: {norm: linf, eps: 4/255}"
    attacks = f"attacks: {{clean: null, a: {{kind: noise, {ball}}}}}"
    Path("preset.yaml").write_text(
        f"evaluate: {{{attacks}, named: {{sample: 2, attacks: {{b: {{kind: fgsm, {ball}}}}}}}}}"
    )
    outcome = cli("evaluate", "--attacks", "preset.yaml", "--limit", "3")
    assert outcome.exit_code == 0, outcome.output
    assert {path.stem for path in Path("out").glob("*.json")} == {"clean", "a", "b", "metrics"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attack", "fgsn"], "no attack 'fgsn'; `immunize attack --list` says what each does: noise, fgsm, "),
        (["--attack", "pgd", "--queries", "5"], "--queries 5: pgd has no use for it"),
        (["--attack", "bert_attack", "--eps", "1/255"], "--eps 1/255: bert_attack has no use for it"),
        (["--attack", "pgd", "--words", "2"], "--words 2: pgd has no use for it"),
        (["--attack", "one_pixel", "--norm", "linf"], "--attack one_pixel: one_pixel: Value error, threat: OnePixel"),
        (["--attack", "square", "--norm", "l3"], "l3"),
        (["--attack", "text_fooler"], "name a file of synonyms"),
        (["--attack", "universal"], "universal.save(universal.fit(model, batches, threat), path)"),
        (["--eps", "-1", "--norm", "l2", "--attack", "pgd"], "--eps -1 is below 0"),
        (["--classes", "none.txt"], "No such file"),
        (["--eps", "two"], "--eps 'two' is no number; write 2/255 or 0.01"),
        (["--eps", "1/0"], "--eps '1/0' is no number"),
        (["--eps", "8"], "--eps 8 is outside [0, 1]"),
        (["--eps", "-1/255"], "--eps -1/255 is outside [0, 1]"),
        (["--language", "no/such/folder"], "'no/such/folder' is no masked language model, in a folder or on the hub"),
        (["--model", "nowhere"], "nowhere holds no model.json"),
        (["--model", "open_clip:ViT-X-1/openai"], "open_clip has no architecture 'ViT-X-1'"),
        (["--pairs", "nowhere"], "nowhere has no pairs.parquet, metadata.jsonl or test/metadata.jsonl"),
        (["--split", "dev"], "no image of split 'dev'"),
    ],
)
def test_bad_input_gets_one_line(cli: Cli, arguments: list[str], says: str) -> None:
    assert says in complaint(cli("attack", *arguments))


def test_a_broken_model_or_attacks_file_gets_one_line(cli: Cli, world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "model", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "SafetensorError" in complaint(cli("attack", "--model", "cut"))
    assert "No such file" in complaint(cli("evaluate", "--attacks", "none.yaml"))
    for text, says in (("a: {kind: x}", "'x'"), ("a: [", "ParserError"), ("", "valid dictionary"),
                       ("a: {kind: pgd, threat: {norm: linf, eps: 1}, stepz: 3}", "stepz")):  # fmt: skip
        Path("bad.yaml").write_text(text)
        assert says in complaint(cli("evaluate", "--attacks", "bad.yaml"))


def test_the_list_has_every_attack_and_asks_for_nothing_else() -> None:
    outcome = CliRunner().invoke(app, ["attack", "--list"])
    assert outcome.exit_code == 0, outcome.output
    listed = [line.split()[0] for line in outcome.stdout.splitlines() if line.startswith("  ")]
    members = {kind for kind in get_args(get_args(Attack)[0])} - {Worst, Restarts, Then}
    assert sorted(listed) == sorted(names()) and {field_default(kind, "kind") for kind in members} <= set(listed)
    assert "on the text:" in outcome.stdout and "arXiv:1706.06083" in outcome.stdout


def field_default(kind: type[Any], name: str) -> object:
    return next(field.default for field in fields(kind) if field.name == name)


@pytest.mark.parametrize("name", names())
def test_every_name_is_an_attack_with_what_was_typed(name: str) -> None:
    """Whatever the attack has a field for is set, in its parts too; what is not typed is the attack's own."""
    needed = {"text_fooler": {"synonyms": "words.yaml"}, "universal": {"path": "delta.safetensors"}}.get(name, {})
    plain = dump(named(name, Options(**needed)))
    assert plain["kind"] == {"nes": "estimated_gradient", "spsa": "estimated_gradient"}.get(name, plain["kind"])
    for option, value in {"steps": 3, "queries": 77, "words": 2, "language": "a/folder"}.items():
        try:
            found = dump(named(name, Options(**needed | {option: value})))
        except ValueError as error:
            assert str(error) == f"--{option} {value}: {name} has no use for it"
            assert f"'{option}'" not in str(plain)
        else:
            assert f"'{option}': {value!r}" in str(found)


def test_each_attack_gets_a_norm_that_it_takes() -> None:
    def threat(name: str, **typed: str) -> tuple[str, float]:
        found = dump(named(name, Options(**typed)))["threat"]
        return found["norm"], found["eps"]

    assert threat("pgd") == ("linf", 2 / 255) and threat("one_pixel") == ("l0", 10.0)
    assert threat("carlini_wagner") == ("l2", "inf") and threat("carlini_wagner", eps="0.7") == ("l2", 0.7)
    assert threat("pgd", norm="l2") == ("l2", 0.5) and threat("square", norm="l2", eps="3/4") == ("l2", 0.75)


@pytest.mark.parametrize(
    "arguments",
    [
        ["square", "--queries", "6", "--norm", "l2", "--eps", "1"],
        ["hot_flip"],
        ["nes", "--queries", "60"],
        ["image_then_text", "--steps", "1"],
        ["transfer", "--steps", "1"],
        ["dra", "--steps", "1", "--eps", "4/255"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_attacks_of_every_room_are_run(cli: Cli, arguments: list[str]) -> None:
    outcome = cli("attack", "--limit", "3", "--attack", *arguments)
    assert outcome.exit_code == 0, outcome.output
    record = results.read(Path("out/record.json"))
    assert record.attack == arguments[0] and len(record.success) == len(record.image_ids) == 3
    spent = [sum(costs) for costs in zip(record.forwards, record.backwards, record.texts)]
    assert all(cost > 0 for cost in spent) and f"| {arguments[0]} |" in outcome.stdout
    assert Path("out/contact_sheet.png").stat().st_size > 1000


def labeled(folder: Path, labels: list[object]) -> Path:
    """An imagefolder of the given labels and no caption."""
    imagefolder(folder, [f"{letter}.png" for letter in "abcdef"[: len(labels)]])
    lines = [{"file_name": f"{letter}.png", "label": label} for letter, label in zip("abcdef", labels)]
    lines = [{key: value for key, value in line.items() if value is not None} for line in lines]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


PROMPTS = ["a small red circle", "a large blue square", "a green star"]


def test_classes_with_labels(cli: Cli, tmp_path: Path) -> None:
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
    cli: Cli, tmp_path: Path, classes: list[str], labels: list[object], attack: str, says: str
) -> None:
    Path("classes.txt").write_text("\n".join(classes))
    labeled(tmp_path / "photos", labels)
    outcome = cli("attack", "--classes", "classes.txt", "--pairs", "photos", "--attack", attack)
    assert outcome.exit_code == 2 and says in outcome.stderr.splitlines()[-1]  # after what was collected


def test_a_target_is_what_each_image_is_taken_for(cli: Cli, world: Path) -> None:
    """One text for all, or one for each: the verdict is on it, and it comes nearer than the image's best caption was."""
    model, pairs = models.load(world / "model"), Pairs.read(world / "pairs", "test", 3)
    before = encode_images(model, pairs.images)
    first = pairs.captions[int((before[0] @ encode_captions(model, pairs.captions).T).argmax())]
    Path("a.txt").write_text(f"{first}\ntwo\n\nthree\n")
    arguments = ("--attack", "apgd", "--eps", "64/255", "--steps", "10", "--limit", "3")
    for target, texts in (("a thing of the night", ["a thing of the night"] * 3), ("a.txt", [first, "two", "three"])):
        outcome = cli("attack", *arguments, "--targets", target)
        assert outcome.exit_code == 0, outcome.output
        record = results.read(Path("out/record.json"))
        assert record.config["targeted"] and all(flag.ok for flag in record.flags if flag.name == "claims_hold")
        stored = pq.read_table("out/images.parquet")["image"].to_pylist()
        moved = torch.stack([torch.from_numpy(np.array(Image.open(io.BytesIO(x)))).permute(2, 0, 1) for x in stored])
        gaps = []
        for image in (before, encode_images(model, moved)):
            cosine = image @ encode_captions(model, (*pairs.captions, *texts)).T
            others = [[text != own for text in pairs.captions] for own in texts]
            best = cosine[:, : len(pairs.captions)].masked_fill(~torch.tensor(others), -2).amax(dim=1)
            gaps.append(cosine[:, len(pairs.captions) :].diagonal() - best)
        assert (gaps[1] > 0).tolist() == record.success and (gaps[1] > gaps[0]).all()
    assert record.success[0]


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attack", "pgd", "--targets", "two.txt"], "--targets two.txt has 2 lines for 6 images; give one for each"),
        (
            ["--attack", "pgd", "--targets", "none.txt"],
            "--targets none.txt is no file; give a file with one text a line",
        ),
        (["--attack", "sga", "--targets", "a"], "--targets: sga cannot be aimed; these can: fgsm, apgd, pgd, "),
        (["--attack", "auto", "--targets", "a"], "--targets: auto cannot be aimed"),
        (["--attack", "pgd", "--classes", "two.txt", "--targets", "c"], "--targets: 'c' is no line of --classes"),
    ],
)
def test_targets_that_make_no_sense(cli: Cli, arguments: list[str], says: str) -> None:
    Path("two.txt").write_text("a\nb\n")
    assert says in complaint(cli("attack", *arguments))


def test_a_file_outside_the_folder_is_no_image_of_it(cli: Cli, tmp_path: Path) -> None:
    Path("classes.txt").write_text("\n".join(PROMPTS))
    folder = labeled(tmp_path / "photos", [0, 1])
    shutil.copy(folder / "a.png", tmp_path / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "../a.png", "label": 0}))
    outcome = cli("attack", "--classes", "classes.txt", "--pairs", "photos", "--attack", "pgd")
    assert outcome.exit_code == 2 and "metadata.jsonl line 1: 'file_name' is no file in" in outcome.stderr


def test_gate_passes_its_verdict_on(cli: Cli, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    Path("params.yaml").write_text("preset: toy\n")
    assert "gates.yaml" in complaint(cli("gate", "HEAD"))
    Path("gates.yaml").write_text("toy: {mat.joint.tr_r1: {better: higher, max_drop: 1, floor: 9}}\n")
    Path("reports/toy").mkdir(parents=True)
    for value, code in ((12.0, 0), (3.0, 1)):
        Path("reports/toy/metrics.json").write_text(json.dumps({"mat": {"joint": {"tr_r1": value}}}))
        assert cli("gate", "HEAD", "--allow-no-base").exit_code == code
        assert cli("gate", "HEAD").exit_code == 2


def test_plan_and_doctor_show_their_tables(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "dvc.yaml" in complaint(cli("plan"))
    monkeypatch.setattr("immunize.pipeline.plan.plan", lambda targets: (Step("report", "yes", ("modified a.py",)),))
    assert "| report | yes | modified a.py |" in cli("plan", "report").stdout
    for status, code in (("ok", 0), ("problem", 1)):
        monkeypatch.setattr("immunize.pipeline.doctor.doctor", lambda s=status: (Check("disk", s, "5 GiB free"),))
        outcome = cli("doctor")
        assert outcome.exit_code == code and f"| disk | {status} | 5 GiB free |" in outcome.stdout


def test_help_and_the_light_commands_load_nothing_heavy() -> None:
    look = "import sys, immunize.cli, immunize.pipeline.gate, immunize.pipeline.plan, immunize.pipeline.doctor;"
    heavy = "{'torch', 'dvc', 'transformers', 'pandas', 'pyarrow', 'mlflow', 'prefect'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{look} print({heavy})"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    shown = subprocess.run([sys.executable, "-m", "immunize.cli", "--help"], capture_output=True, text=True, check=True)
    assert all(command in shown.stdout for command in ("attack", "evaluate", "gate", "plan", "doctor"))
