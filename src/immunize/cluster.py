"""Ray: so many processes on this machine, or those of a cluster whose machines share this file system."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

RETRIES = 3  # of a task whose worker died; one that failed fails again


@contextmanager
def cluster(where: int | str, variables: Mapping[str, str]) -> Iterator[Any]:
    """The module `ray`, started with `where` workers here or joined to the cluster at that address, and shut down at the end.

    `variables`: what is set in the environment of each worker.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    there = {"num_cpus": where, "include_dashboard": False} if isinstance(where, int) else {"address": where}
    ray.init(**there, runtime_env={"env_vars": dict(variables)}, logging_level=logging.WARNING)
    try:
        yield ray
    finally:
        ray.shutdown()
