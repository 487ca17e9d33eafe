"""Predictions on a few images, for pictures."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stvm.data.batches import as_input, batch_size
from stvm.data.images import OpenedLabelledImages, evenly_spaced
from stvm.evaluation.class_mapping import ClassMapping, predicted_classes
from stvm.networks import SegmentationNetwork
from stvm.trial.measures import AdaptedPredictor

SAMPLE_IMAGES = 4


@torch.no_grad()
def predict_sample(
    network: SegmentationNetwork,
    reader: AdaptedPredictor | None,
    images: OpenedLabelledImages,
    device: torch.device,
    mapping: ClassMapping | None = None,
) -> dict[str, NDArray[Any]]:
    """Images, labels, predicted classes and, with a metric network, reliability of a few images.

    A pixel predicted as a class that the labels do not have is 255.
    """
    rows = evenly_spaced(len(images), SAMPLE_IMAGES)
    shown = [images.image(i) for i in rows]
    network.eval()
    predictions, reliabilities = [], []
    for part in as_input(shown, device).split(batch_size(shown[0][..., 0].size)):
        found = predicted_classes(network(part), mapping)
        predictions.append(found.to(torch.uint8).cpu().numpy())
        maps = reader.maps(part) if reader else {}
        if "reliability" in maps:
            reliabilities.append(maps["reliability"].cpu().numpy().astype(np.float32))
    arrays: dict[str, NDArray[Any]] = {
        "images": np.stack(shown),
        "labels": np.stack([images.label(i) for i in rows]),
        "predictions": np.concatenate(predictions),
        "palette": np.array(images.labelling.colours, np.uint8),
    }
    if reliabilities:
        arrays["reliability"] = np.concatenate(reliabilities)
    return arrays
