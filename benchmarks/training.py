"""What a training step costs beside the bare passes that it makes, and how much of it is the text attack."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import yaml
from benchmarks.timing import in_turns
from torch import Tensor

from immunize.attacks import SGA
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, train
from immunize.models import Clip, language

LOG = 10  # steps between two records, as in the presets


class Pass(NamedTuple):
    """One forward pass as a step made it; wants: which inputs had a gradient, learns: whether the weights had."""

    call: Any
    inputs: tuple[Tensor, ...]
    wants: tuple[bool, ...]
    learns: bool
    graph: bool
    training: bool


class Step(NamedTuple):
    """Of a step: CPU seconds, those over the bare passes', and the share of the text attack; medians over rounds."""

    seconds: float
    over: float
    text: float
    passes: int


def mat(preset: Path) -> dict[str, Any]:
    """The recipe `immunize.mat` of a preset, as written there."""
    return yaml.safe_load(preset.read_text())["immunize"]["mat"]


def step(model: Clip, pairs: Pairs, method: Method, batch: int, rounds: int) -> Step:
    """Ten steps of training (up to a record) in turns with their own passes, replayed bare: same inputs, same flags, sums
    in place of losses.

    After one epoch: what is computed once for a caption is known by then.
    """
    passes: list[Pass] = []
    text: list[float] = []
    epoch = len(pairs) // batch // LOG + 1
    last = LOG * (epoch + rounds + 2)
    training = Training(steps=last, batch=batch, warmup=1, log=LOG, checkpoint=last)
    with TemporaryDirectory() as folder:
        steps = train(model, pairs, method, training, Path(folder))
        for _ in range(epoch):
            next(steps)

        def one() -> None:
            passes.clear()
            with recorded(passes, method), timed(text, method):
                next(steps)

        timings = in_turns({"step": one, "bare": lambda: replay(model, passes)}, rounds)
        steps.close()
    return Step(
        seconds=timings["step"].median / LOG,
        over=timings["step"].over(timings["bare"]),
        text=statistics.median(a / b for a, b in zip(text, timings["step"].seconds, strict=True)) if text else 0.0,
        passes=len(passes) // LOG,
    )


@contextmanager
def recorded(passes: list[Pass], method: Method) -> Iterator[None]:
    """Every pass of the towers, and of the language model that the method's text attack asks, is kept."""

    def keeping(honest: Any) -> Any:
        @wraps(honest)
        def call(model: Clip, *inputs: Tensor) -> Tensor:
            given = tuple(x.detach() for x in inputs if x is not None)
            wants, learns = tuple(x.requires_grad for x in inputs if x is not None), model.net.logit_scale.requires_grad
            passes.append(Pass(honest, given, wants, learns, torch.is_grad_enabled(), model.training))
            return honest(model, *inputs)

        return call

    with ExitStack() as stack:
        for name in ("encode_image", "encode_text"):
            stack.enter_context(patch.object(Clip, name, keeping(getattr(Clip, name))))
        folder = method.inner.text.language if isinstance(method.inner, SGA) else None
        if folder is not None:
            known = language.load(folder, method.inner.text.cache).model

            def keep(module: Any, inputs: Any, named: dict[str, Tensor]) -> None:
                passes.append(Pass(lambda _, honest=dict(named): known(**honest).logits, (), (), False, False, False))

            hook = known.register_forward_pre_hook(keep, with_kwargs=True)
            stack.callback(hook.remove)
        yield


@contextmanager
def timed(seconds: list[float], method: Method) -> Iterator[None]:
    """CPU seconds of the text half of the inner attack, one number a step."""
    if not isinstance(method.inner, SGA):
        yield
        return
    kind, taken = type(method.inner.text), 0.0
    honest = kind.__call__

    def call(*given: Any) -> Any:
        nonlocal taken
        start = time.process_time()
        result = honest(*given)
        taken += time.process_time() - start
        return result

    with patch.object(kind, "__call__", call):
        yield
    seconds.append(taken)


def replay(model: Clip, passes: list[Pass]) -> None:
    """The passes again and nothing else: forward, and backward to what had a gradient."""
    flags, mode = [p.requires_grad for p in model.parameters()], model.training
    for one in passes:
        if mode != one.training:
            model.train(mode := one.training)
        for p, learns in zip(model.parameters(), flags, strict=True):
            p.requires_grad_(learns and one.learns)
        inputs = [x.requires_grad_() if wants else x for x, wants in zip(one.inputs, one.wants, strict=True)]
        with torch.set_grad_enabled(one.graph):
            out = one.call(model, *inputs)
        if out.requires_grad:
            ends = [x for x in inputs if x.requires_grad] or [p for p in model.parameters() if p.requires_grad]
            torch.autograd.grad(out.sum(), ends, allow_unused=True)
    for p, learns in zip(model.parameters(), flags, strict=True):
        p.requires_grad_(learns)


def read(project: Path) -> tuple[Path, Path, dict[str, Any], int] | None:
    """Model, pairs, method and batch of `mat` in the preset `scenes`, where `make repro` has made them."""
    recipe = mat(project / "presets/scenes.yaml")
    model, pairs = project / "models/scenes/pretrain", project / "data/scenes" / recipe["pairs"]
    return (model, pairs, recipe["method"], recipe["training"]["batch"]) if model.exists() and pairs.exists() else None


def parsed(method: dict[str, Any]) -> Method:
    """The method as an object."""
    return parse(method, Method, "immunize.mat.method")
