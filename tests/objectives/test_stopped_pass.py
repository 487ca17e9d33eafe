"""An offline pass that its user stops: it ends between two images, and nothing done is lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stvm.objectives import offline_pass
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from tests.objectives.test_offline_labels import CPU, SHARP, SIZE, Pictures, built, made


@pytest.mark.parametrize("procedure", ["cbst", "hcl", "ld"])
@pytest.mark.parametrize("at", [2, 7])
def test_a_pass_that_is_stopped_between_two_images_goes_on_from_there(
    procedure: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 1)
    whole = made(procedure, tmp_path / "whole")
    seen: list[int] = []

    def tell(done: int) -> None:
        seen.append(done)
        if len(seen) > at:
            raise KeyboardInterrupt

    images = [TargetImages(Pictures(), CPU, told) for told in (tell, seen.append)]
    sweeps = 5 if procedure == "hcl" else 10
    if at < sweeps:
        with pytest.raises(KeyboardInterrupt):
            store = LabelStore(tmp_path / "stopped", 5, SIZE, "me")
            built(procedure, SHARP).objective.begin_round(1, images[0], store)
        assert seen == [index % 5 for index in range(at + 1)]
        # No state was due: it was written because of the stop. Nothing is done again.
        seen.clear()
        again = LabelStore(tmp_path / "stopped", 5, SIZE, "me")
        built(procedure, SHARP).objective.begin_round(1, images[1], again)
        assert seen == [index % 5 for index in range(at, sweeps)]
        assert (np.stack([again.read(k).numpy() for k in range(5)]) == whole).all()


class Clock:
    """Seconds of a pass, of which each image takes ten."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Slow(Pictures):
    """Pictures that take their time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def image(self, index: int) -> Any:
        self.clock.now += 10
        return super().image(index)


def test_a_pass_is_saved_now_and_then_and_at_the_end_of_each_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least 20 seconds lie between two states: two images, unless a sweep has ended."""
    clock = Clock()
    monkeypatch.setattr(offline_pass, "time", clock)
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 1)
    store = LabelStore(tmp_path, 5, SIZE, "me")
    saved: list[tuple[int, int]] = []
    save = LabelStore.save

    def saving(self: LabelStore, done: int, **kept: Any) -> None:
        saved.append((int(kept["surveyed"]), done))
        save(self, done, **kept)

    monkeypatch.setattr(LabelStore, "save", saving)
    built("cbst", SHARP).objective.begin_round(1, TargetImages(Slow(clock), CPU), store)
    assert saved == [(2, 0), (4, 0), (5, 0), (5, 2), (5, 4), (5, 5)]
