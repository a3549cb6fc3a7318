"""Is the data what the pipeline believes it is? Named expectations, a verdict on disk, and a page to read."""

from immunize.data.validation.expectations import Thresholds
from immunize.data.validation.suite import ValidationFailed, validate

__all__ = ["Thresholds", "ValidationFailed", "validate"]
