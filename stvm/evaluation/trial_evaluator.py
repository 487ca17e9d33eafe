"""mIoU of a trial under its protocol, with the means over 16 and 13 classes, as recorded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stvm.data.cityscapes import subset_means
from stvm.data.datasets import open_target_labelled
from stvm.data.images import OpenedLabelledImages
from stvm.evaluation.class_mapping import ClassMapping
from stvm.evaluation.evaluate import evaluate
from stvm.evaluation.miou import Score
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.settings.protocols import Protocol, find_protocol


class EvaluationImages(OpenedLabelledImages):
    """The evaluated split, opened at the sizes of an evaluation protocol.

    Args:
        images: Images of the protocol's input size, with labels of its label size.
        protocol: Protocol that gave the sizes.
    """

    def __init__(self, images: OpenedLabelledImages, protocol: Protocol) -> None:
        super().__init__(images, images, images.labelling)
        self.protocol = protocol


def open_evaluation_images(settings: Settings, cache: Path) -> EvaluationImages:
    """Opens the evaluated split at the sizes of the trial's protocol.

    Raises:
        StvmError: A folder or file that is missing, or data that have no such size.
    """
    protocol, split = find_protocol(settings.evaluation.protocol), settings.training.eval_split
    sizes = {"image_size": protocol.input_size, "label_size": protocol.label_size}
    return EvaluationImages(open_target_labelled(settings.data, split, cache, **sizes), protocol)


@dataclass(frozen=True)
class TrialEvaluator:
    """Measures the mIoU of networks on one split, under its protocol.

    Attributes:
        settings: Settings of the trial.
        images: Evaluated split, from `open_evaluation_images`.
        device: Device of the networks.
        mapping: Mapping of the networks' classes to the target's; None if they are the same.
    """

    settings: Settings
    images: EvaluationImages
    device: torch.device
    mapping: ClassMapping | None = None

    def __call__(self, network: SegmentationNetwork) -> dict[str, Any]:
        """mIoU, IoU of each class, pixel accuracy and the means over sets of classes."""
        return self._measured(network, multi_scale=False)

    def about(self, network: SegmentationNetwork) -> dict[str, Any]:
        """The protocol and, if the settings ask for it, the multi-scale figures of a network."""
        data, protocol = self.settings.data, self.images.protocol
        about: dict[str, Any] = {"protocol": protocol.as_dict(data.height, data.width)}
        if self.settings.evaluation.multi_scale:
            about["multi_scale"] = self._measured(network, multi_scale=True) | {
                "scales": list(protocol.scales),
                "flip": protocol.flip,
            }
        return about

    def _measured(self, network: SegmentationNetwork, multi_scale: bool) -> dict[str, Any]:
        images, names = self.images, self.images.labelling.class_names
        score: Score = evaluate(
            network, images, len(names), self.device, images.protocol, multi_scale, self.mapping
        )
        means = subset_means(score.iou, names)
        return score.as_dict() | ({"means": means} if means else {})
