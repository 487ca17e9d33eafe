"""The adaptation of one source model to unlabelled target images; it knows no study."""

from collections.abc import Callable
from dataclasses import asdict

import torch

from stvm.data.access import Images
from stvm.data.crops import TargetCrops, batches
from stvm.method.build import Adaptation, build_adaptation
from stvm.method.step import StepReport
from stvm.networks import SegmentationNetwork
from stvm.optimisation import FirstNonFinite, PolynomialDecay, seed_everything
from stvm.settings import Settings

Progress = Callable[[int, int], None]
Curve = list[dict[str, float]]
CURVE_POINTS = 40


def adapt(
    settings: Settings,
    source: SegmentationNetwork,
    images: Images,
    num_classes: int,
    progress: Progress | None = None,
) -> tuple[Adaptation, Curve]:
    """Train the student to the last iteration.

    Args:
        settings: with st on.
        source: the source model, on the device to train on; it is left as it is.
        images: unlabelled target images.
        num_classes: C.
        progress: called with iterations done and all.

    Returns:
        The networks after the last iteration, and about 40 points of the training curve.

    Raises:
        DivergenceError: a loss of student or metric network that is not finite.
    """
    training = settings.training
    device = next(source.parameters()).device
    seed_everything(training.seed)
    adaptation = build_adaptation(settings, source, num_classes)
    decay = PolynomialDecay(adaptation.optimizers, training.iterations, training.poly_power)
    watch = FirstNonFinite(training.seed, device, "lr or metric_lr")
    size = (training.crop_height, training.crop_width)
    crops = TargetCrops(images, size, training.seed, training.iterations * training.batch)
    every = max(1, training.iterations // CURVE_POINTS)
    curve: Curve = []
    for iteration, pixels in enumerate(batches(crops, training.batch, training.workers), start=1):
        batch = pixels.to(device, non_blocking=True).float() / 255
        report = adaptation.step(batch, iteration)
        decay.step()
        watch.see(iteration, report.loss + report.metric_loss)
        if iteration % every == 0:
            curve.append(_point(iteration, report))
        if progress:
            progress(iteration, training.iterations)
    watch.check()
    return adaptation, curve


def _point(iteration: int, report: StepReport) -> dict[str, float]:
    values: dict[str, torch.Tensor] = asdict(report)
    return {"iteration": iteration} | {name: float(value) for name, value in values.items()}
