"""mIoU of a trial: under its protocol, with the means over 16 and 13 classes, as recorded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stvm.data.cityscapes import subset_means
from stvm.data.datasets import class_names, open_target_labelled
from stvm.data.images import LabelledImages
from stvm.evaluation.evaluate import evaluate
from stvm.evaluation.miou import Score
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.settings.protocols import Protocol, find_protocol


def open_evaluation_images(settings: Settings, cache: Path) -> LabelledImages:
    """The evaluated split at the sizes of the trial's protocol.

    Raises:
        StvmError: a folder or file that is missing, or data that have no such size.
    """
    protocol, split = find_protocol(settings.evaluation.protocol), settings.training.eval_split
    return open_target_labelled(
        settings.data, split, cache, image_size=protocol.input_size, label_size=protocol.label_size
    )


@dataclass(frozen=True)
class TrialEvaluator:
    """Measures networks as the settings say.

    Attributes:
        settings: of the trial.
        images: from `open_evaluation_images`.
        device: of the networks.
    """

    settings: Settings
    images: LabelledImages
    device: torch.device

    @property
    def protocol(self) -> Protocol:
        """Of the trial."""
        return find_protocol(self.settings.evaluation.protocol)

    def __call__(self, network: SegmentationNetwork) -> dict[str, Any]:
        """mIoU, IoU of each class, pixel accuracy and means over sets of classes."""
        return self._measured(network, multi_scale=False)

    def about(self, network: SegmentationNetwork) -> dict[str, Any]:
        """What stands beside them for the reported network: the protocol, and MST if asked for."""
        data = self.settings.data
        about: dict[str, Any] = {"protocol": self.protocol.as_dict(data.height, data.width)}
        if self.settings.evaluation.multi_scale:
            about["multi_scale"] = self._measured(network, multi_scale=True) | {
                "scales": list(self.protocol.scales),
                "flip": self.protocol.flip,
            }
        return about

    def _measured(self, network: SegmentationNetwork, multi_scale: bool) -> dict[str, Any]:
        names = class_names(self.settings.data)
        score: Score = evaluate(
            network, self.images, len(names), self.device, self.protocol, multi_scale
        )
        means = subset_means(score.iou, names)
        return score.as_dict() | ({"means": means} if means else {})
