"""Progress of passes over all target images, which are no iterations and may take minutes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor

from stvm.objectives.objective import not_told
from stvm.training.loop import Progress


@runtime_checkable
class HearsPasses(Protocol):
    """A progress that is also told of passes over images."""

    def tell_pass(self, what: str, done: int, total: int) -> None:
        """Told now and then, between two images.

        Args:
            what: Name of the pass.
            done: Images done.
            total: Images of the pass.

        Raises:
            KeyboardInterrupt: The pass is to end here.
        """
        ...


def telling(progress: Progress | None, what: str, total: int) -> Callable[[int], None]:
    """Function that is told how many images of a pass are done.

    Args:
        progress: Progress of the training, which may hear of passes.
        what: Name of the pass.
        total: Images of the pass.
    """
    if not isinstance(progress, HearsPasses):
        return not_told
    hearing = progress
    return lambda done: hearing.tell_pass(what, done, total)


def told(
    batches: Iterable[Tensor], progress: Progress | None, what: str, total: int
) -> Iterator[Tensor]:
    """The batches; the progress hears how many images are done after each, and of the end.

    Args:
        batches: Batches of the pass; the last images may be in none of them.
        progress: Progress of the training, which may hear of passes.
        what: Name of the pass.
        total: Images of the pass.
    """
    tell, done = telling(progress, what, total), 0
    for batch in batches:
        yield batch
        done += len(batch)
        tell(done)
    if done < total:
        tell(total)
