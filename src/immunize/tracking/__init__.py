"""What DVC reproduced, published to MLflow once for each content: `python -m immunize.tracking`.

Nothing is logged while a stage runs: a skipped stage would log nothing and a forced one twice. The key is a hash of
dvc.lock, so it does not matter whether DVC ran a stage, skipped it or restored it.
"""

from immunize.tracking.lock import PublicationError, lock_key, read_lock
from immunize.tracking.registry import published
from immunize.tracking.runs import KEY, connect, publish

__all__ = ["KEY", "PublicationError", "connect", "lock_key", "publish", "published", "read_lock"]
