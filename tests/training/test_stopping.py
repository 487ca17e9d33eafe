"""A training that is asked to stop: what is saved before it does."""

import signal
from typing import Any

import pytest

from stvm.training.stopping import StoppableProgress, stoppable


class Saved:
    """The place of a state: 0 asks it to save after the next iteration."""

    next = 60.0


def told(total: int = 4, until: int = 1) -> tuple[StoppableProgress, Saved]:
    place: Any = Saved()
    progress = StoppableProgress(lambda *_: None, place)
    for done in range(1, until + 1):
        progress(done, total)
    return progress, place


def test_it_stops_once_the_state_is_saved() -> None:
    progress, place = told()
    progress.ask()
    assert place.next == 0
    # The state was not due yet: an iteration more.
    progress(2, 4)
    place.next = 60.0
    with pytest.raises(KeyboardInterrupt):
        progress(3, 4)
    assert progress.last == 3


def test_a_second_request_and_one_outside_the_iterations_stop_at_once() -> None:
    progress, _ = told()
    progress.ask()
    with pytest.raises(KeyboardInterrupt):
        progress.ask()
    for until in (0, 4):
        progress, place = told(until=until)
        place.next = 60.0
        with pytest.raises(KeyboardInterrupt):
            progress.ask()
        assert place.next == 60.0 and not progress.asked


def test_a_pass_over_images_stops_after_the_image_at_hand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard: list[tuple[str, int, int]] = []

    class Hears:
        def __call__(self, *_: Any) -> None: ...

        def tell_pass(self, *told: Any) -> None:
            heard.append(told)

    place: Any = Saved()
    progress = StoppableProgress(Hears(), place)
    progress.tell_pass("start_bn=0.5", 1, 9)
    progress.ask()
    assert capsys.readouterr().err == "stopping after this image\n"
    with pytest.raises(KeyboardInterrupt):
        progress.tell_pass("start_bn=0.5", 2, 9)
    assert heard == [("start_bn=0.5", 1, 9), ("start_bn=0.5", 2, 9)]
    # After the pass it stops at once until the first iteration.
    ended = StoppableProgress(lambda *_: None, place)
    ended.tell_pass("start_bn=0.5", 9, 9)
    with pytest.raises(KeyboardInterrupt):
        ended.ask()
    # A round begins between two iterations.
    between, _ = told()
    between.tell_pass("pass before round 2 of 3", 0, 9)
    between.ask()
    with pytest.raises(KeyboardInterrupt):
        between.tell_pass("pass before round 2 of 3", 1, 9)


def test_after_a_pass_it_is_an_iteration_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    progress, _ = told()
    progress.tell_pass("pass before round 2 of 3", 8, 9)
    progress(2, 4)
    progress.ask()
    assert capsys.readouterr().err == "stopping after this iteration\n"
    # A pass that does not tell its end ends with the last iteration at the latest.
    ended, _ = told(until=3)
    ended.tell_pass("pass before round 3 of 3", 8, 9)
    ended(4, 4)
    with pytest.raises(KeyboardInterrupt):
        ended.ask()


def test_the_state_after_the_last_iteration_is_saved() -> None:
    assert told(until=2)[1].next == 60.0
    assert told(until=3)[1].next == 0


def test_the_handler_of_before_comes_back() -> None:
    before, place = signal.getsignal(signal.SIGINT), Saved()
    with stoppable(lambda *_: None, place) as progress:  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGINT) == progress.ask
    assert signal.getsignal(signal.SIGINT) is before
