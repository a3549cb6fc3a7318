"""Bad input gets one line, which says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attack", "fgsn"], "no attack 'fgsn'; `immunize attack --list` says what each does: noise, fgsm, "),
        (["--attack", "pgd", "--queries", "5"], "--queries 5: pgd has no use for it"),
        (["--attack", "bert_attack", "--eps", "1/255"], "--eps 1/255: bert_attack has no use for it"),
        (["--attack", "pgd", "--words", "2"], "--words 2: pgd has no use for it"),
        (["--attack", "one_pixel", "--norm", "linf"], "--attack one_pixel: one_pixel: threat: OnePixel"),
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
def test_bad_input_gets_one_line(arguments: list[str], says: str, refusal: Refusal) -> None:
    assert says in refusal("attack", *arguments)


def test_a_broken_model_or_attacks_file_gets_one_line(world: Path, tmp_path: Path, refusal: Refusal) -> None:
    shutil.copytree(world / "model", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "SafetensorError" in refusal("attack", "--model", "cut")
    assert "No such file" in refusal("evaluate", "--attacks", "none.yaml")
    for text, says in (("a: {kind: x}", "'x'"), ("a: [", "ParserError"), ("", "valid dictionary"),
                       ("a: {kind: pgd, threat: {norm: linf, eps: 1}, stepz: 3}", "stepz")):  # fmt: skip
        Path("bad.yaml").write_text(text)
        assert says in refusal("evaluate", "--attacks", "bad.yaml")


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
def test_targets_that_make_no_sense(arguments: list[str], says: str, refusal: Refusal) -> None:
    Path("two.txt").write_text("a\nb\n")
    assert says in refusal("attack", *arguments)
