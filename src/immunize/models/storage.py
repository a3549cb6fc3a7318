"""A model on disk: model.safetensors, model.json and the tokenizer; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safe
from tokenizers import Tokenizer

from immunize.config import dump, parse
from immunize.models import whole
from immunize.models.clip import Architecture, Clip, Tokenize, build
from immunize.models.prompt import PromptSize
from immunize.models.tokenizer import BytePairs

WEIGHTS, DESCRIPTION, TOKENIZER, LOG = "model.safetensors", "model.json", "tokenizer.json", "log.json"
PROMPT = "prompt."


def save(model: Clip, folder: Path, log: str | None = None) -> None:
    """Write the model, all its files or none; equal models give equal bytes. `log`: the text of log.json beside it.

    Raises NotWritten, and then leaves what was there as it was.
    """
    state = model.net.state_dict()
    description = {"architecture": dump(model.architecture), "tokenizer": _describe(model.tokenizer)}
    if model.prompt is not None:
        state |= {PROMPT + name: value for name, value in model.prompt.state_dict().items()}
        description["prompt"] = dump(model.prompt.size)
    files = {WEIGHTS: safe({name: value.detach().cpu().contiguous() for name, value in state.items()})}
    if isinstance(model.tokenizer, BytePairs):
        files[TOKENIZER] = model.tokenizer.tokenizer.to_str(pretty=True).encode()
    if log is not None:
        files[LOG] = log.encode()
    # last, as `read` looks for it first
    whole.write(folder, files | {DESCRIPTION: (json.dumps(description, indent=1, sort_keys=True) + "\n").encode()})


def read(folder: Path) -> Clip:
    """The model that `save` wrote, in evaluation mode; raises FileNotFoundError or ConfigurationError saying what is off."""
    if not (folder / DESCRIPTION).exists():
        raise FileNotFoundError(
            f"{folder} holds no {DESCRIPTION}: is the stage that makes this model done (`dvc repro`)?"
        )
    description = json.loads((folder / DESCRIPTION).read_text())
    architecture = parse(description["architecture"], Architecture, str(folder / DESCRIPTION))
    with torch.random.fork_rng():
        model = build(architecture, _tokenizer(description["tokenizer"], folder))
    weights = load_file(folder / WEIGHTS)
    if "prompt" in description:
        model.give_prompt(parse(description["prompt"], PromptSize, str(folder / DESCRIPTION)))
        names = [name for name in weights if name.startswith(PROMPT)]
        model.get_submodule("prompt").load_state_dict({n.removeprefix(PROMPT): weights.pop(n) for n in names})
    model.net.load_state_dict(weights)
    return model.eval()


def digest(folder: Path) -> str:
    """sha256 of the weights' file, or of the names and files of a model that has several: what a result names as its model.

    Raises FileNotFoundError where there is no model.
    """
    files = [folder / WEIGHTS] if (folder / WEIGHTS).exists() else sorted(p for p in folder.glob("*.*") if p.is_file())
    if not files:
        raise FileNotFoundError(f"{folder} holds no model: is the stage that makes it done (`dvc repro`)?")
    if len(files) == 1:
        return hashlib.sha256(files[0].read_bytes()).hexdigest()
    named = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _describe(tokenizer: Tokenize) -> dict[str, str | int]:
    if isinstance(tokenizer, BytePairs):
        return {"kind": "byte_pairs", "context": tokenizer.context}
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return {"kind": "simple", "context": tokenizer.context_length}
    raise TypeError(f"a model with a {type(tokenizer).__name__} cannot be saved yet; byte pairs and CLIP's own can")


def _tokenizer(description: dict, folder: Path) -> Tokenize:
    if description["kind"] == "simple":
        return open_clip.SimpleTokenizer(context_length=description["context"])
    return BytePairs(Tokenizer.from_file(str(folder / TOKENIZER)), description["context"])
