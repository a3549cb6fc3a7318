"""`immunize attack`: what it keeps of pairs and captions, of every room of attacks, and aimed at a text."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import Result as Outcome
from PIL import Image

from immunize import models
from immunize.data.loader import Pairs
from immunize.evaluation import results
from immunize.models.encode import encode_captions, encode_images

Cli = Callable[..., Outcome]
Folder = Callable[..., Path]


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
def test_an_imagefolder_is_collected_and_its_losses_are_told(
    cli: Cli, tmp_path: Path, inside: str, imagefolder: Folder
) -> None:
    folder = imagefolder(tmp_path / "photos" / inside, ["a.png", "b.png", "c.png"])
    (folder / "b.png").write_bytes(b"no image")
    outcome = cli("attack", "--attack", "pgd", "--steps", "1", "--pairs", "photos", "--split", inside or "test")
    assert outcome.exit_code == 0, outcome.output
    assert "2 images" in outcome.stdout and "1 not_an_image" in outcome.stderr
    assert pq.read_table("out/collect/rejected.parquet")["image_id"].to_pylist() == ["b"]
    assert pq.read_table("out/images.parquet")["image_id"].to_pylist() == ["a", "c"]


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
