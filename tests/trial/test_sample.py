"""The predictions that a trial keeps for pictures are those of its own networks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.data.cityscapes import CITYSCAPES
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.trial.sample import predict_sample
from tests.settings.test_protocols import CPU, images, network, pixels_of


class Reader:
    """In place of the networks after an adaptation: the reliability is the red of a pixel."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def maps(self, pixels: Tensor) -> dict[str, Tensor]:
        return {name: pixels[:, 0] for name in self.names}


@pytest.mark.parametrize(
    ("reader", "weighted"),
    [(None, False), (Reader("confidence"), False), (Reader("confidence", "reliability"), True)],
)
def test_a_sample_holds_four_evenly_spaced_images_and_what_is_known_of_them(
    reader: Any, weighted: bool
) -> None:
    model, data = network(), images(count=6)
    opened = OpenedLabelledImages(data, data, Labelling(CITYSCAPES))
    sample = predict_sample(model, reader, opened, CPU)
    rows = [0, 2, 3, 5]
    assert sample["images"].tolist() == [data.image(i).tolist() for i in rows]
    assert sample["labels"].tolist() == [data.label(i).tolist() for i in rows]
    with torch.no_grad():
        classes = [model(pixels_of(data, i)).argmax(1)[0].numpy() for i in rows]
    assert np.mean(sample["predictions"] == np.stack(classes)) > 0.999
    assert sample["palette"].shape == (19, 3) and sample["palette"][13].tolist() == [0, 0, 142]
    assert ("reliability" in sample) == weighted
    if weighted:
        red = sample["images"][..., 0] / 255
        np.testing.assert_allclose(sample["reliability"], red, atol=1e-6)
