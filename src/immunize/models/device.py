"""Where models live: the first CUDA device, or the processor."""

from __future__ import annotations

import torch


def best() -> torch.device:
    """cuda where there is one, else cpu; asked when a model is made, never at import."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
