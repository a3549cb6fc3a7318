"""What is said where the package or the weights are missing, and that a pipeline is asked for what it must give."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from immunize.config import ConfigurationError
from immunize.models import painter


class Pipeline:
    """Stands in for diffusers' own: noise of the caption's generator, twice the size that is wanted."""

    @staticmethod
    def from_pretrained(folder: str, local_files_only: bool) -> Pipeline:
        assert local_files_only
        return Pipeline()

    def to(self, device: torch.device) -> Pipeline:
        return self

    def __call__(self, captions: list[str], generator: list[torch.Generator], output_type: str) -> SimpleNamespace:
        assert output_type == "pt" and len(generator) == len(captions)
        return SimpleNamespace(images=torch.stack([torch.rand(3, 16, 16, generator=g) for g in generator]))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("diffusers")
    module.AutoPipelineForText2Image = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", module)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigurationError, match=r"kind render: .*pip install diffusers"):
        painter.paint(str(tmp_path), ["a ball"], 8, 0)


def test_without_the_weights(installed: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no model_index.json.*hf download"):
        painter.paint(str(tmp_path), ["a ball"], 8, 0)


def test_a_picture_of_each_caption_whatever_the_block(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    captions = ["a ball", "a box", "a ball"]
    images = painter.paint(str(tmp_path), captions, 8, 0)
    assert images.shape == (3, 3, 8, 8) and images.dtype == torch.uint8
    assert not torch.equal(images[0], images[2])  # the same caption asked for twice is painted twice
    monkeypatch.setattr(painter, "BLOCK", 2)
    assert torch.equal(painter.paint(str(tmp_path), captions, 8, 0), images)
    assert not torch.equal(painter.paint(str(tmp_path), captions, 8, 1), images)
    assert painter.paint(str(tmp_path), [], 8, 0).shape == (0, 3, 8, 8)
