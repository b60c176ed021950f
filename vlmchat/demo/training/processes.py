"""Workers that train together: one process each, with gradients in memory that they share.

Two processes of one thread are faster than one of two. They meet once for the gradients and once
for the optimizer's updates; whoever waits sleeps in a pipe, as the machine may be busy. When one
dies, the pipe ends, and so does the other.
"""

import os
import signal
from collections.abc import Callable, Sequence
from itertools import accumulate
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
import torch.multiprocessing as shared

from vlmchat.errors import VlmchatError

Said = TypeVar("Said")
Decided = TypeVar("Decided")


class LostWorkerError(VlmchatError):
    """Another process of the training has ended."""

    code = "lost_worker"


class Link:
    """How one worker meets the others; worker 0 leads.

    Args:
        worker: number of this one.
        pipes: of the leader one to each of the others, of another the one to the leader.
        buffers: one a worker, (2, numbers), float32, in memory that all share: gradients and
            updates, each of which is written again only when all have read it.
    """

    def __init__(
        self, worker: int, pipes: Sequence["Connection[Any, Any]"], buffers: list[torch.Tensor]
    ) -> None:
        self.worker = worker
        self._pipes = pipes
        self._buffers = buffers

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._buffers)

    def meet(self, said: Said, decide: Callable[[list[Said]], Decided]) -> Decided:
        """Wait until all have come, and return what the leader decides by what each says.

        Args:
            said: what this worker says.
            decide: called at the leader with what all say, its own first.

        Raises:
            LostWorkerError: another has ended.
        """
        try:
            if self.worker == 0:
                decided = decide([said, *(pipe.recv() for pipe in self._pipes)])
                for pipe in self._pipes:
                    pipe.send(decided)
                return decided
            (pipe,) = self._pipes
            pipe.send(said)
            answer: Decided = pipe.recv()
            return answer
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise LostWorkerError(
                "A process of the training has ended: start it again, it goes on from its last "
                "checkpoint."
            ) from error

    def put(self, tensors: Sequence[torch.Tensor]) -> None:
        """Write tensors one behind the other into this worker's buffer, if others read it."""
        if self.workers == 1:
            return
        flat = [tensor.detach().flatten() for tensor in tensors]
        size = sum(len(part) for part in flat)
        torch.cat(flat, out=self._buffers[self.worker][0, :size])

    def mean(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make the mean of what all have put the gradients; to be called after a meeting."""
        if self.workers == 1:
            return
        size = sum(parameter.numel() for parameter in parameters)
        whole = self._buffers[0][0, :size].clone()
        for buffer in self._buffers[1:]:
            whole += buffer[0, :size]
        whole /= self.workers
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.grad = whole[start:end].view_as(parameter)
            start = end

    def follow(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give all workers the leader's parameters."""
        if self.workers == 1:
            return
        sizes = [parameter.numel() for parameter in parameters]
        source = self._buffers[0][1, : sum(sizes)]
        if self.worker == 0:
            torch.cat([parameter.detach().flatten() for parameter in parameters], out=source)
        self.meet(None, lambda _: None)
        with torch.no_grad():
            for parameter, part in zip(parameters, torch.split(source, sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def share(self, updates: list[torch.Tensor]) -> None:
        """Exchange updates: number n is that of worker n modulo the number of workers."""
        if self.workers == 1:
            return
        starts = list(accumulate((update.numel() for update in updates), initial=0))
        for place in range(self.worker, len(updates), self.workers):
            target = self._buffers[self.worker][1, starts[place] : starts[place + 1]]
            target.copy_(updates[place].flatten())
        self.meet(None, lambda _: None)
        for place, update in enumerate(updates):
            source = self._buffers[place % self.workers][1, starts[place] : starts[place + 1]]
            update.copy_(source.view_as(update))


def alone() -> Link:
    """Return the link of a worker that has no others."""
    return Link(0, [], [torch.empty(2, 0)])


def together(
    workers: int, numbers: int, work: Callable[..., None], arguments: tuple[object, ...]
) -> tuple[Link, Sequence[BaseProcess]]:
    """Start the other workers and return the leader's link to them.

    Args:
        workers: how many, the leader among them.
        numbers: that gradients have.
        work: what each of the others runs: ``work(link, *arguments)``, importable by name.
        arguments: of `work`; must be picklable.
    """
    buffers = [torch.zeros(2, numbers) for _ in range(workers)]
    for buffer in buffers:
        torch.Tensor.share_memory_(buffer)  # type: ignore[no-untyped-call]
    context = shared.get_context("spawn")
    pipes, started = [], []
    for worker in range(1, workers):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_follow, args=(worker, theirs, buffers, work, arguments), daemon=True
        )
        process.start()
        theirs.close()  # the only other end is now the worker's, so that its death is noticed
        pipes.append(ours)
        started.append(process)
    return Link(0, pipes, buffers), started


def _follow(
    worker: int,
    pipe: "Connection[Any, Any]",
    buffers: list[torch.Tensor],
    work: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    """Run a worker that does as the leader says, until the leader ends."""
    # Whoever stops the training tells the leader; a Ctrl-C reaches all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        work(Link(worker, [pipe], buffers), *arguments)
    except LostWorkerError:
        os._exit(0)  # the leader has said why, or was killed
