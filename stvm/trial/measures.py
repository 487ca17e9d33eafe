"""Measures of an adapted network beside mIoU: its labels, its metric features, its scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.images import LabelledImages
from stvm.evaluation.class_mapping import ClassMapping
from stvm.evaluation.evaluate import labelled_batches
from stvm.evaluation.label_free import label_free_scores
from stvm.evaluation.label_quality import pseudo_label_auroc
from stvm.evaluation.silhouette_score import Batch, silhouettes
from stvm.method.mean_teacher import Labeller
from stvm.method.reliability import reliability
from stvm.networks import upsample
from stvm.settings import Settings
from stvm.training.peer_builder import Adapted


@dataclass(frozen=True)
class AdaptedPredictor:
    """Reads images with the networks of a finished adaptation, in eval mode.

    Attributes:
        settings: settings of the trial.
        adaptation: after its last iteration.
    """

    settings: Settings
    adaptation: Adapted

    def maps(self, pixels: Tensor) -> dict[str, Tensor]:
        """Labels of the labelling network, scores of their confidence and, if learnt, reliability.

        All are (N, H, W).

        Args:
            pixels: (N, 3, H, W) in [0, 1].
        """
        labels, confidence, doubt, features = self._label(pixels)
        # Shares that float32 rounds to 1 are ranked by their doubt, which is below -16.
        maps = {"labels": labels, "confidence": confidence.where(confidence < 1, 1 - doubt)}
        if self.adaptation.metric:
            distances = self.adaptation.metric.distances(features, labels)
            method = self.settings.method
            maps["reliability"] = reliability(distances, alpha=method.alpha, beta=method.beta)
        return maps

    def normalised_embeddings(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised metric features (P, N_f) of every pixel, and their predicted classes (P,).

        Raises:
            ValueError: the trial has no metric network.
        """
        if self.adaptation.metric is None:
            raise ValueError("no metric network was trained")
        labels, _, _, features = self._label(pixels)
        embeddings = self.adaptation.metric.embed(features)
        full = F.normalize(upsample(embeddings, (pixels.shape[-2], pixels.shape[-1])), dim=1)
        return full.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()

    def _label(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        network, method = self.adaptation.labelling, self.settings.method
        seen = Labeller(network, "eval", views=method.label_views, scale=method.label_scale)
        return seen(pixels)


@torch.no_grad()
def metric_silhouette(
    reader: AdaptedPredictor,
    images: LabelledImages,
    num_classes: int,
    device: torch.device,
    num_labels: int | None = None,
) -> dict[str, Any] | None:
    """Table VII: silhouette of every pixel's metric feature; None without metric network.

    Under the labels ("truth"; for evaluation only) and under the network's own classes.

    Args:
        reader: predictor of the adaptation.
        images: labelled target images.
        num_classes: number of the network's classes.
        device: device of the networks.
        num_labels: number of the labels' classes; None if they are the network's.
    """
    if reader.adaptation.metric is None:
        return None

    def batches() -> Iterator[Batch]:
        # One image at a time: its features at full resolution may take a gigabyte.
        for pixels, labels in labelled_batches(images, device, most=1):
            features, predicted = reader.normalised_embeddings(pixels)
            yield features, {"truth": labels.flatten().long(), "prediction": predicted}

    counts = {"truth": num_labels or num_classes, "prediction": num_classes}
    found = silhouettes(batches, max(counts.values()), reader.settings.method.n_f, device)
    return {
        name: values and values | {"class": values["class"][: counts[name]]}
        for name, values in found.items()
    }


@torch.no_grad()
def unlabelled_silhouette(
    reader: AdaptedPredictor, pixels: Tensor, num_classes: int
) -> float | None:
    """Mean silhouette of the metric features of these images under the network's own classes."""
    if reader.adaptation.metric is None:
        return None

    def batches() -> Iterator[Batch]:
        for batch in pixels.split(1):
            features, predicted = reader.normalised_embeddings(batch)
            yield features, {"prediction": predicted}

    found = silhouettes(batches, num_classes, reader.settings.method.n_f, pixels.device)
    return found["prediction"]["overall_mean"] if found["prediction"] else None


def measure_adaptation(
    reader: AdaptedPredictor,
    held_out: LabelledImages,
    unlabelled: Tensor,
    num_classes: int,
    device: torch.device,
    mapping: ClassMapping | None = None,
) -> dict[str, Any]:
    """All measures, as a record keeps them.

    Args:
        reader: predictor of the adaptation.
        held_out: labelled target images; for evaluation only.
        unlabelled: target training images (N, 3, H, W) for the scores without labels.
        num_classes: C, the number of the network's classes.
        device: device of the networks.
        mapping: mapping of the network's classes to the target's; None if they are the same.
    """
    adaptation = reader.adaptation
    network = adaptation.reported(reader.settings.training.evaluated)
    other = adaptation.labelling if network is adaptation.student else adaptation.student

    @torch.no_grad()
    def classes_of_the_other(pixels: Tensor) -> Tensor:
        return Labeller(other, "eval")(pixels)[0]

    # A student that labels for itself agrees with itself: that is no score.
    agree = None if other is network else classes_of_the_other
    scores = label_free_scores(network, unlabelled, agree)
    scores["silhouette"] = unlabelled_silhouette(reader, unlabelled, num_classes)
    return {
        "auroc": pseudo_label_auroc(reader.maps, held_out, device, mapping),
        "scores": scores,
        "silhouette": metric_silhouette(
            reader, held_out, num_classes, device, mapping.num_targets if mapping else None
        ),
    }
