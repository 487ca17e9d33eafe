"""An offline pass that its user stops: it ends between two images, and nothing done is lost."""

from pathlib import Path

import numpy as np
import pytest

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
