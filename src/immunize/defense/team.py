"""The processes that train one model together; without `accelerate launch` or `torchrun` there is this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

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

    @torch.no_grad()
    def share(self, model: nn.Module) -> None:
        """Each gradient becomes its sum over the processes, running statistics of batch norms that train their mean.

        A gradient stays None where no process has one.
        """
        learnt = [p for p in model.parameters() if p.requires_grad]
        norms = training_norms(model)
        means = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
        if self.size == 1 or not learnt + means:
            return
        there = torch.tensor([float(p.grad is not None) for p in learnt], device=(learnt + means)[0].device)
        flat, (counts, *slots) = _room([there, *learnt, *means])  # together: each round of the processes has its delay
        for slot, own in zip(slots, [*(p.grad for p in learnt), *means], strict=True):
            slot.zero_() if own is None else slot.copy_(own)
        counts.copy_(there)
        dist.all_reduce(flat)
        for p, slot, count in zip(learnt, slots, counts.tolist()):
            p.grad = slot.to(p.dtype) if count else None
        for value, slot in zip(means, slots[len(learnt) :], strict=True):
            value.copy_(slot / self.size)

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


def _room(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One vector with room for all of them, and the view of it for each, which lies as the tensor lies.

    So nothing is turned over: convolutions may be channels last, and a fused optimizer reads a gradient as its weight lies.
    """
    flat = torch.empty(
        sum(map(Tensor.numel, tensors)),
        dtype=reduce(torch.promote_types, (x.dtype for x in tensors)),
        device=tensors[0].device,
    )
    slots = []
    for part, x in zip(flat.split([x.numel() for x in tensors]), tensors, strict=True):
        dense = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True)) + 1 == x.numel()
        slots.append(part.as_strided(x.shape, x.stride(), part.storage_offset()) if dense else part.view_as(x))
    return flat, slots


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
