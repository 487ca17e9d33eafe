"""Which settings leave DeepLabV3's batch norm with one value a channel, which it cannot normalise.

Its image pooling makes one value a channel of an image, however large: a pass that takes its
statistics from the batch needs two images. The other networks have no such layer.
"""

from stvm.settings.data_settings import DataSettings
from stvm.settings.method_settings import MethodSettings
from stvm.settings.network_settings import NetworkSettings
from stvm.settings.source_settings import SourceSettings
from stvm.settings.training_settings import TrainingSettings

WITH_IMAGE_POOLING = ("deeplabv3_resnet50",)
_WHY = "pools each image to one value a channel, and batch norm needs two"
_MEND = "where memory is short, take precision=bfloat16 or smaller crops"


def needs_two_images(network: NetworkSettings) -> bool:
    """A batch of one image has no batch statistics."""
    return network.network in WITH_IMAGE_POOLING


def most_parts(network: NetworkSettings, batch: int) -> int:
    """Equal parts of a batch that a training step can take one after the other."""
    least = 2 if needs_two_images(network) else 1
    return max((n for n in range(1, batch // least + 1) if batch % n == 0), default=1)


def refuse_lone_images(
    data: DataSettings,
    network: NetworkSettings,
    source: SourceSettings,
    method: MethodSettings,
    training: TrainingSettings,
) -> None:
    """Refuse a training step, a part of one, or AdaBN on a single image.

    Raises:
        ValueError: there is one; the message names the setting.
    """
    if not needs_two_images(network):
        return
    trains_on_labels = not source.source_checkpoint or method.procedure == "oracle"
    if source.source_batch == 1 and trains_on_labels:
        raise ValueError(
            f"source_batch=1: {network.network} {_WHY}; set source_batch=2 or more; {_MEND} "
            "(source_crop_height, source_crop_width)"
        )
    if training.batch == 1 and method.st and _uses_batch_statistics(method):
        raise ValueError(
            f"batch=1: {network.network} {_WHY}; set batch=2 or more; {_MEND} "
            "(crop_height, crop_width)"
        )
    parted = [
        ("source_accumulate", source.source_accumulate, source.source_batch, trains_on_labels),
        (
            *("accumulate", training.accumulate, training.batch),
            method.st and method.student_bn != "frozen",
        ),
    ]
    for name, parts, batch, trains in parted:
        if parts > most_parts(network, batch) and trains:
            raise ValueError(
                f"{name}={parts} leaves one image a pass: {network.network} {_WHY}; set "
                f"{name}={most_parts(network, batch)}; {_MEND}"
            )
    if method.procedure == "adabn" and data.dataset == "streets" and data.target_images == 1:
        raise ValueError(f"target_images=1: {network.network} {_WHY}; AdaBN takes two or more")


def _uses_batch_statistics(method: MethodSettings) -> bool:
    """Student, metric network or labeller take statistics of the batch."""
    return (
        method.student_bn != "frozen"
        or method.mgs
        or method.mocm
        or method.metric_alongside
        or method.labeller_bn == "batch"
        or (method.mt and method.teacher_bn == "track")
    )
