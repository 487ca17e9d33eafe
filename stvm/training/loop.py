"""The training loop: start or resume, step by step, save a state now and then, check the end.

The adaptation and the training on labels both run through `run_training`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from stvm.data.crops import Positions, batches
from stvm.training.divergence import DivergenceMonitor
from stvm.training.resume import Resumable, TrainingCheckpoint, start_or_resume
from stvm.training.seeding import restore_random_states

Batch = TypeVar("Batch")
Batch_contra = TypeVar("Batch_contra", contravariant=True)


class Progress(Protocol):
    """Function that is told how many iterations are done, of how many.

    At some iterations it also gets the predicted classes on fixed images, which
    `stvm.evaluation.collapse` measures.
    """

    def __call__(
        self, done: int, total: int, watch: Mapping[str, Any] | None = None, /
    ) -> None: ...


class LoopedTraining(Resumable, Protocol[Batch_contra]):
    """A training that `run_training` can run.

    Attributes:
        device: Device of the networks.
        finite: Monitor that raises once a loss or weight is not finite.
    """

    device: torch.device
    finite: DivergenceMonitor

    def before_first_step(self) -> None:
        """Called once, before the first round; not called when a training is resumed."""
        ...

    def take_batch(self, batch: Batch_contra, iteration: int, /) -> Mapping[str, Any] | None:
        """Trains on a batch as it was loaded; returns what `Progress` is told beside the count."""
        ...

    def networks(self) -> list[nn.Module]:
        """Networks whose weights must be finite after the last iteration."""
        ...

    def state_dict(self, iteration: int, /) -> dict[str, Any]:
        """The whole state after an iteration, with "iteration" and "random" in it."""
        ...


Run = TypeVar("Run", bound=LoopedTraining[Any])


def no_pass(training: object, number: int) -> None:
    """The beginning of a round without an offline pass."""


@dataclass(frozen=True)
class Rounds(Generic[Run]):
    """Rounds of equal length.

    Attributes:
        count: Number of rounds.
        begin: Function that is called with training and number of the round, from 1, before its
            first item is loaded, but not where a training resumes within the round.
    """

    count: int = 1
    begin: Callable[[Run, int], None] = no_pass


ONE_ROUND: Rounds[Any] = Rounds()


def run_training(
    make: Callable[[], Run],
    crops: Positions[Batch],
    batch: int,
    workers: int,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
    rounds: Rounds[Any] = ONE_ROUND,
) -> Run:
    """Trains to the last iteration, from the start or from the state that `checkpoint` holds.

    A resumed training ends with the same weights as one without a break, to the bit.

    Args:
        make: Creates a new training object; may be called twice.
        crops: Items of all batches, in order.
        batch: Items per batch.
        workers: Number of processes that load the items; 0 loads them in this process.
        progress: Function that is told how far the training is.
        checkpoint: Place where the state is saved now and then, and at the end of a round.
        rounds: Rounds with their passes; by default one without.

    Returns:
        The training object after its last iteration.

    Raises:
        DivergenceError: A loss or weight that is not finite.
        StvmError: An item that cannot be used, or a state that cannot be written.
    """
    training, state = start_or_resume(make, checkpoint)
    done, total = int(state["iteration"]) if state else 0, len(crops) // batch
    for number, (first, last) in enumerate(round_ends(total, rounds.count), start=1):
        if done >= last:
            continue
        if done == 0:  # before a pass, which may move the statistics of batch norm
            training.before_first_step()
        if done == first:
            _save_or_restore(training, done, state, checkpoint)
            rounds.begin(training, number)
        loaded = batches(crops, batch, workers, done, last, pinned=training.device.type == "cuda")
        # The loader has drawn from torch's generator by now, so its state is restored after that.
        if state and done > first:
            restore_random_states(state["random"])
        state = None
        _take(training, enumerate(loaded, start=done + 1), total, progress, checkpoint)
        done = last
    if state:
        restore_random_states(state["random"])
    training.finite.check_weights(total, *training.networks())
    return training


def _save_or_restore(
    training: LoopedTraining[Any],
    done: int,
    state: dict[str, Any] | None,
    checkpoint: TrainingCheckpoint | None,
) -> None:
    """Before an offline pass: an interrupted one begins again from the state that stands here."""
    if state:
        restore_random_states(state["random"])
    elif checkpoint and done:
        checkpoint.save(training.state_dict(done), training.device)


def _take(
    training: LoopedTraining[Batch],
    loaded: Iterator[tuple[int, Batch]],
    total: int,
    progress: Progress | None,
    checkpoint: TrainingCheckpoint | None,
) -> None:
    for iteration, items in loaded:
        seen = training.take_batch(items, iteration)
        if checkpoint and checkpoint.due():
            checkpoint.save(training.state_dict(iteration), training.device)
        if progress:
            progress(iteration, total, seen)


def round_ends(total: int, rounds: int) -> list[tuple[int, int]]:
    """Iterations done before and after each of some rounds of equal length.

    Args:
        total: Number of all iterations.
        rounds: Number of rounds, at most `total`.
    """
    ends = [number * total // rounds for number in range(rounds + 1)]
    return list(zip(ends, ends[1:], strict=False))
