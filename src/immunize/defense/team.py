"""The processes that train one model together; without `accelerate launch` or `torchrun` there is this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

Own = Float[Tensor, "r *rest"]
Whole = Float[Tensor, "n *rest"]


@dataclass(frozen=True, slots=True)
class Team:
    """Process `rank` of `size`. Sums are the same bits in every process, so equal weights stay equal."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints, logs and weights."""
        return self.rank == 0

    def rows(self, count: int) -> Int[Tensor, " r"]:
        """This process's share of `count` images, in order; shares differ by one image at most."""
        return torch.arange(count).tensor_split(self.size)[self.rank]

    def whole(self, own: Own, at: Int[Tensor, " r"], count: int) -> Whole:
        """`own` at rows `at` of `count`, the other rows being those of the other processes; without a gradient."""
        gathered = own.new_zeros(count, *own.shape[1:])
        gathered[at.to(own.device)] = own.detach()
        if self.size > 1:
            dist.all_reduce(gathered)
        return gathered

    def add(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each gradient becomes its sum over the processes; None stays where no process has one."""
        learnt = [p for p in parameters if p.requires_grad]
        if self.size == 1 or not learnt:
            return
        there = torch.tensor([p.grad is not None for p in learnt], dtype=torch.int32, device=learnt[0].device)
        dist.all_reduce(there)
        learnt = [p for p, count in zip(learnt, there.tolist(), strict=True) if count]
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in learnt])
        dist.all_reduce(flat)
        for p, gradient in zip(learnt, flat.split([p.numel() for p in learnt]), strict=True):
            p.grad = torch.empty_like(p).copy_(gradient.view_as(p))  # p's strides: a fused optimizer reads it as p lies

    @torch.no_grad()
    def share_statistics(self, model: nn.Module) -> None:
        """Running statistics of batch norms that train become the mean over the processes."""
        norms = training_norms(model)
        values = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
        if self.size == 1 or not values:
            return
        flat = torch.cat(values)  # together: each round through the processes has its delay
        dist.all_reduce(flat)
        for value, mean in zip(values, flat.div_(self.size).split([len(value) for value in values]), strict=True):
            value.copy_(mean)

    def agree(self, step: int, where: object) -> None:
        """Raises RuntimeError unless all processes go on from the same step."""
        if self.size > 1:
            ends = torch.tensor([step, -step], device=self._device)
            dist.all_reduce(ends, dist.ReduceOp.MAX)
            if int(ends[0]) != -int(ends[1]):
                raise RuntimeError(
                    f"processes found different states in {where}: put it on a disk that all of them share"
                )

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The body runs in the leading process, then in the others, which find what it has written."""
        if not self.leads:
            dist.barrier()
        yield
        if self.leads and self.size > 1:
            dist.barrier()

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def here() -> Team:
    """The team that this process has joined."""
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else Team()


@contextmanager
def joined() -> Iterator[Team]:
    """Join the team that a launcher started this process in, through accelerate: nccl where CUDA is, else gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield here()
    finally:
        state.destroy_process_group()


def training_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norms that use the statistics of what they see, and keep a running mean of them."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.training and norm.track_running_stats]
