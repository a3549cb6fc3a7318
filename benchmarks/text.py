"""Text and joint attacks: pairs per CPU second beside the published scripts' loop over captions and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from benchmarks.published_loop import SetLoop, TextLoop
from benchmarks.timing import in_turns
from torch import Generator, Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from immunize.attacks import PGD, SGA, BertAttack
from immunize.batch import Batch
from immunize.data.scenes import Scenes
from immunize.models import Architecture, Clip, Normalization, build, language, load
from immunize.threats import Ball, Edits

FREE = Edits(words=1, same_meaning=False, keep_numbers=False, distinct=False)  # stop words stay; no more is asked
WIDE = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}  # CLIP ViT-B's text tower
NARROW = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
CAPTIONS = 5  # an image, as in Flickr30k and COCO


class Subject(NamedTuple):
    """A model to attack, with its masked language model's folder and as many batches as there are rounds."""

    name: str
    model: Clip
    folder: Path
    batches: list[Batch]


class Row(NamedTuple):
    """Pairs per CPU second of ours and of the loop; mean cosine of the pairs before, after ours and after the loop's."""

    attack: str
    model: str
    pairs: int
    speed: float
    loop_speed: float
    gain: float
    clean: float
    ours: float
    loop: float
    same: float


def trained(models: Path, rounds: int, images: int = 8) -> Subject:
    """The project's own small model on its scenes, whole captions (about 30 words)."""
    return Subject("scenes", load(models / "pretrain").eval(), models / "language", _batches(rounds, images))


def wide(cache: Path, rounds: int, images: int = 2) -> Subject:
    """CLIP ViT-B's text tower and BERT-base before a small vision tower, untrained; captions of 12 words."""
    batches = _batches(rounds, images, words=12)
    folder = cache / "language"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = {"embed_dim": 512, "vision_cfg": NARROW, "text_cfg": WIDE}
        model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer(context_length=77))
        if not folder.exists():
            texts = _batches(1, 100, words=12)[0].captions
            language.fresh(texts, vocabulary=2000, width=768, layers=12, length=64).save(folder)
    return Subject("CLIP ViT-B text tower", model.eval().requires_grad_(False), folder, batches)


def bert_attack(subject: Subject) -> Row:
    """One word, ten candidates, the word that matters most."""
    return _text_attack("BERT-Attack", subject, BertAttack(FREE, language=str(subject.folder), legacy_offset=True))


def by_gradient(subject: Subject) -> Row:
    """The same beside the same loop, but which word matters is read off one gradient instead of one masked text a word."""
    ours = BertAttack(FREE, language=str(subject.folder), legacy_offset=True, importance="gradient")
    return _text_attack("BERT-Attack, importance by gradient", subject, ours)


def _text_attack(name: str, subject: Subject, ours: BertAttack) -> Row:
    loop = _loop(subject)

    def one_by_one(batch: Batch) -> Batch:
        with torch.no_grad():
            image = subject.model.encode_image(batch.images)[batch.owner]
        return _with(batch, loop(subject.model, batch.captions, image))

    return _compare(name, subject, lambda batch: ours(subject.model, batch, Generator().manual_seed(0)), one_by_one)


def sga(subject: Subject) -> Row:
    """Text, image with five scales, text again; eps 2/255, ten steps."""
    text = BertAttack(FREE, language=str(subject.folder), legacy_offset=True)
    ours = SGA(text, PGD(Ball("linf", 2 / 255), steps=10, scales=(0.5, 0.75, 1.25, 1.5)))
    loop = SetLoop(_loop(subject))
    return _compare(
        "SGA",
        subject,
        lambda batch: ours(subject.model, batch, Generator().manual_seed(0)),
        lambda batch: loop(subject.model, batch, Generator().manual_seed(0)),
    )


def _loop(subject: Subject) -> TextLoop:
    """The loop with the candidates and the importance that ours has, so that both make the same edits."""
    known = language.load(str(subject.folder))
    return TextLoop(known, importance="distance", pieces=known.model.config.max_position_embeddings)


def _compare(name: str, subject: Subject, ours: Callable[[Batch], Batch], loop: Callable[[Batch], Batch]) -> Row:
    def served(attack: Callable[[Batch], Batch]) -> Callable[[], Batch]:
        batches = iter(subject.batches)  # no batch twice: proposals are remembered
        return lambda: attack(next(batches))

    timings = in_turns({"ours": served(ours), "loop": served(loop)}, len(subject.batches))
    clean, mine, theirs = subject.batches[-1], timings["ours"].result, timings["loop"].result
    return Row(
        attack=name,
        model=subject.name,
        pairs=len(clean.captions),
        speed=len(clean.captions) / timings["ours"].median,
        loop_speed=len(clean.captions) / timings["loop"].median,
        gain=timings["loop"].over(timings["ours"]),
        clean=_cosine(subject.model, clean),
        ours=_cosine(subject.model, mine),
        loop=_cosine(subject.model, theirs),
        same=sum(a == b for a, b in zip(mine.captions, theirs.captions)) / len(mine.captions),
    )


@torch.no_grad()
def _cosine(model: Clip, batch: Batch) -> float:
    image, text = model.encode_image(batch.images), model.encode_text(model.tokenize(batch.captions))
    return (image[batch.owner] * text).sum(dim=1).mean().item()


def _with(batch: Batch, captions: Iterable[str]) -> Batch:
    return replace(batch, captions=tuple(captions))


def _batches(count: int, images: int, words: int | None = None) -> list[Batch]:
    """`count` batches of so many scenes, their captions cut to `words`."""
    records: Iterator[Any] = iter(list(Scenes(counts={"test": count * images}, captions=CAPTIONS).records()))
    return [_batch([next(records) for _ in range(images)], words) for _ in range(count)]


def _batch(records: list[Any], words: int | None) -> Batch:
    pixels: list[Tensor] = [pil_to_tensor(record.image) / 255 for record in records]
    ids = tuple(record.image_id for record in records)
    return Batch(
        images=torch.stack(pixels),
        captions=tuple(" ".join(caption.split()[:words]) for record in records for caption in record.captions),
        owner=torch.arange(len(records)).repeat_interleave(CAPTIONS),
        image_ids=ids,
        caption_ids=tuple(f"{i}-{j}" for i in ids for j in range(CAPTIONS)),
    )
