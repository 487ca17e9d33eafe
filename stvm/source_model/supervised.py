"""Training with labels: the source model, and the oracle that continues it on the target."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stvm.data.correspondence import Correspondence
from stvm.data.crops import LabelledCrops
from stvm.data.datasets import open_source
from stvm.data.images import OpenedLabelledImages
from stvm.method.optimizer_step import descend
from stvm.method.photometric import PhotometricAugmentation, no_augmentation
from stvm.networks import SegmentationNetwork, upsample
from stvm.settings import Settings
from stvm.source_model.labelled_loss import (
    MergedClasses,
    class_weights,
    mean_cross_entropy,
    refuse_unlabelled,
)
from stvm.source_model.loading import load_source, new_network
from stvm.training.device import forward_mode_of
from stvm.training.divergence import DivergenceMonitor
from stvm.training.loop import Progress, run_training
from stvm.training.optim import PolynomialDecay, make_optimizer
from stvm.training.resume import TrainingCheckpoint
from stvm.training.seeding import random_states, seed_everything

__all__ = [
    "SupervisedTraining",
    "class_weights",
    "load_source",
    "train_oracle",
    "train_source",
    "train_supervised",
]


def train_source(
    settings: Settings,
    cache: Path,
    device: torch.device,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> SegmentationNetwork:
    """The source model, trained on labelled source images.

    The initial weights are random; with source_init those of the backbone come from that file.

    Raises:
        DivergenceError: A loss that is not finite.
        StvmError: Images or an initialisation that cannot be used.
    """
    seed_everything(settings.source.source_seed)
    network = new_network(settings).to(device)
    images = open_source(settings.data, "train", cache)
    train_supervised(network, images, settings, settings.source_crop(), progress, checkpoint)
    return network


def train_oracle(
    source: SegmentationNetwork,
    images: OpenedLabelledImages,
    settings: Settings,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
    classes: Correspondence | None = None,
) -> SegmentationNetwork:
    """The oracle: the source model, trained further on target labels by the source's recipe.

    If the source model has other classes than the target, the probability of a target class is the
    sum of those of its source classes, and unmatched source classes lose probability.
    """
    seed_everything(settings.source.source_seed + 1)
    sizes = settings.training
    crop = (sizes.crop_height, sizes.crop_width)
    merged = MergedClasses.of(classes) if classes else None
    train_supervised(source, images, settings, crop, progress, checkpoint, merged)
    return source


class SupervisedTraining:
    """Training on labels with cross-entropy and polynomial decay; its state can be saved.

    If the network has an auxiliary classifier, its weighted loss is added (AdaptSegNet's
    multi-level training).

    Args:
        network: Network to train, on its device.
        settings: Settings with the recipe.
        weights: Weights of the labels' classes, (C,); None for 1 each.
        merged: Classes of the labels, if they are others than the network's.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        settings: Settings,
        weights: Tensor | None,
        merged: MergedClasses | None = None,
    ) -> None:
        recipe, training = settings.source, settings.training
        forward_mode = forward_mode_of(settings.compute)
        self.network = forward_mode.prepare(network.train())
        self.predict = forward_mode.predict(self.network)
        self.both = forward_mode.wrap(lambda images: torch.stack(network.both_logits(images)))
        self.device = next(network.parameters()).device
        self.merged = merged
        if merged and weights is not None:
            weights = merged.weights(weights)
        self.weights = None if weights is None else weights.to(self.device)
        self.parts = recipe.source_accumulate
        self.augment: Callable[[Tensor], Tensor] = no_augmentation
        if recipe.source_augment > 0:
            self.augment = PhotometricAugmentation(recipe.source_augment)
        own = {
            "optimizer": recipe.source_optimizer,
            "lr": recipe.source_lr,
            "head_lr_factor": recipe.source_head_lr_factor,
        }
        self.optimizer = make_optimizer(network, training.model_copy(update=own))
        auxiliary = network.auxiliary if settings.network.auxiliary else None
        self.auxiliary_weight = 0.0 if auxiliary is None else recipe.source_auxiliary
        if auxiliary is not None and self.auxiliary_weight > 0:
            head_rate = recipe.source_lr * recipe.source_head_lr_factor
            group = {"params": list(auxiliary.parameters()), "lr": head_rate}
            self.optimizer.add_param_group(group)
        self.decay = PolynomialDecay(
            [self.optimizer], recipe.source_iterations, training.poly_power
        )
        self.finite = DivergenceMonitor(recipe.source_seed, self.device, "source_lr")

    def before_first_step(self) -> None:
        """Does nothing: a source model has nothing to be compared with."""

    def take_batch(self, batch: tuple[Tensor, Tensor], iteration: int) -> None:
        """Trains on crops and labels as they were loaded."""
        self.step(*batch, iteration)

    def networks(self) -> list[nn.Module]:
        """The network that is trained."""
        return [self.network]

    def step(self, pixels: Tensor, labels: Tensor, iteration: int) -> None:
        """Trains on uint8 images (N, 3, h, w) with labels (N, h, w).

        Raises:
            DivergenceError: A loss that is not finite.
        """
        images = self.augment(pixels.to(self.device, non_blocking=True).float() / 255)
        known = labels.to(self.device, non_blocking=True)
        losses = self.losses(images, self.merged.labels(known) if self.merged else known)
        loss = descend(self.optimizer, losses)
        self.decay.step()
        self.finite.check_loss(iteration, loss)

    def losses(self, images: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """Losses of the parts of a batch, computed one by one; their sum is the batch's loss."""
        if self.parts == 1:
            yield self.loss(images, labels)
            return
        for part, known in zip(images.chunk(self.parts), labels.chunk(self.parts), strict=True):
            yield self.loss(part, known, labels)

    def loss(self, images: Tensor, labels: Tensor, batch: Tensor | None = None) -> Tensor:
        """Loss of images (N, 3, h, w) in [0, 1]; `batch` as in `mean_cross_entropy`."""
        if self.auxiliary_weight == 0:
            return self._entropy(self.predict(images), labels, batch)
        size = (images.shape[-2], images.shape[-1])
        logits, auxiliary = (upsample(small, size) for small in self.both(images))
        second = self._entropy(auxiliary, labels, batch)
        return self._entropy(logits, labels, batch) + self.auxiliary_weight * second

    def _entropy(self, logits: Tensor, labels: Tensor, batch: Tensor | None) -> Tensor:
        outputs = self.merged.logits(logits) if self.merged else logits
        return mean_cross_entropy(outputs, labels, self.weights, batch)

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """The whole state after an iteration."""
        return {
            "iteration": iteration,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "decay": self.decay.state_dict(),
            "finite": self.finite.state_dict(),
            "random": random_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, except the random states."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.decay.load_state_dict(state["decay"])
        self.finite.load_state_dict(state["finite"])


def train_supervised(
    network: SegmentationNetwork,
    images: OpenedLabelledImages,
    settings: Settings,
    crop: tuple[int, int],
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
    merged: MergedClasses | None = None,
) -> None:
    """Trains `network` in place to the last iteration, from the state in `checkpoint` if any.

    Args:
        network: Network to train, on its device.
        images: Labelled images.
        settings: Settings with the recipe.
        crop: Height and width of a crop, in pixels.
        progress: Function that is told how far the training is.
        checkpoint: Place of the saved state.
        merged: Classes of the labels, if they are others than the network's.

    Raises:
        DivergenceError: A loss that is not finite.
        StvmError: No labelled pixel in any image, or a state that cannot be written.
    """
    refuse_unlabelled(images)
    recipe, crops = settings.source, _crops(images, settings, crop)
    weights = None
    if recipe.source_balance > 0:
        weights = class_weights(images, crops.num_classes, recipe.source_balance)
    first = network.state_dict()
    for name, value in first.items():
        first[name] = value.to("cpu", copy=True)  # So that the device holds the weights once.

    def make() -> SupervisedTraining:
        network.load_state_dict(first)
        return SupervisedTraining(network, settings, weights, merged)

    run_training(make, crops, recipe.source_batch, settings.training.workers, progress, checkpoint)
    network.eval()


def _crops(
    images: OpenedLabelledImages, settings: Settings, crop: tuple[int, int]
) -> LabelledCrops:
    """Crops of the whole training, in order."""
    recipe = settings.source
    return LabelledCrops(
        images,
        crop,
        recipe.source_seed,
        recipe.source_iterations * recipe.source_batch,
        recipe.source_rare,
        recipe.source_scale,
        images.labelling.num_classes,
    )
