"""Settings that give DeepLabV3's batch norm a single image, which it cannot normalise.

The image pooling in its ASPP turns an image of any size into one value for each channel. A pass
that takes its statistics from the batch then needs two images. `stvm.networks.known_networks` says
which networks have such a layer.
"""

from stvm.networks import find_network
from stvm.settings.data_settings import DataSettings
from stvm.settings.method_settings import MethodSettings
from stvm.settings.network_settings import NetworkSettings
from stvm.settings.peers import PEERS
from stvm.settings.source_settings import SourceSettings
from stvm.settings.training_settings import TrainingSettings

_WHY = "pools each image to one value for each channel, and batch norm needs two"
_MEND = "if memory is short, use precision=bfloat16 or smaller crops"


def needs_two_images(network: NetworkSettings) -> bool:
    """Whether the network cannot take its statistics from a batch of one image."""
    return find_network(network.network).needs_two_images


def most_parts(network: NetworkSettings, batch: int) -> int:
    """Largest number of equal parts into which a training step can split a batch."""
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
        ValueError: the settings lead to one; the message names the setting.
    """
    if not needs_two_images(network):
        return
    trains_on_labels = not source.source_checkpoint or method.procedure == "oracle"
    if source.source_batch == 1 and trains_on_labels:
        raise ValueError(
            f"source_batch=1: {network.network} {_WHY}; set source_batch=2 or more; {_MEND} "
            "(source_crop_height, source_crop_width)"
        )
    own = _own_statistics(method)
    if training.batch == 1 and method.adapts and (_uses_batch_statistics(method) or own):
        raise ValueError(
            f"batch=1: {network.network} {_WHY}{own}; set batch=2 or more; {_MEND} "
            "(crop_height, crop_width)"
        )
    parted = [
        ("source_accumulate", source.source_accumulate, source.source_batch, trains_on_labels),
        (
            *("accumulate", training.accumulate, training.batch),
            method.adapts and (method.student_bn != "frozen" or bool(own)),
        ),
    ]
    for name, parts, batch, trains in parted:
        if parts > most_parts(network, batch) and trains:
            raise ValueError(
                f"{name}={parts} leaves one image in each pass: {network.network} {_WHY}"
                f"{own * (name == 'accumulate')}; set {name}={most_parts(network, batch)}; {_MEND}"
            )
    if method.labeller_bn == "batch" and labels_offline(method):
        raise ValueError(
            f"procedure={method.procedure} labels images one by one with labeller_bn=batch: "
            f"{network.network} {_WHY}; choose another network or another procedure"
        )
    if measures_target(method) and data.dataset == "streets" and data.target_images == 1:
        raise ValueError(
            f"target_images=1: {network.network} {_WHY}; {measures_target(method)} needs two or "
            "more"
        )


def measures_target(method: MethodSettings) -> str:
    """Name of what takes batch-norm statistics from whole target images; empty if nothing does."""
    if method.procedure == "adabn":
        return "AdaBN"
    if method.procedure in PEERS and PEERS[method.procedure].needs_batch_norm:
        return f"procedure={method.procedure}"
    return f"start_bn={method.start_bn:g}" if method.adapts and method.start_bn > 0 else ""


def labels_offline(method: MethodSettings) -> bool:
    """Whether the trial's objective labels whole images in a pass of its own."""
    return method.procedure in PEERS and bool(PEERS[method.procedure].offline)


def _own_statistics(method: MethodSettings) -> str:
    """Reason why a frozen student is not enough, for a message; empty if it is."""
    own = PEERS[method.procedure].own_statistics if method.procedure in PEERS else ""
    if not own or method.student_bn != "frozen":
        return ""
    return f" (the {own} of procedure={method.procedure} too, though student_bn=frozen)"


def _uses_batch_statistics(method: MethodSettings) -> bool:
    """Whether the student, the metric network or the labeller uses batch statistics."""
    return (
        method.student_bn != "frozen"
        or method.mgs
        or method.mocm
        or method.metric_alongside
        or method.labeller_bn == "batch"
        or (method.mt and method.teacher_bn == "track")
    )
