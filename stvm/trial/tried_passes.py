"""Passes of a trial that code of others might not take, tried before anything is trained."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from stvm.data.datasets import has_source_val
from stvm.data.image_files import read_size
from stvm.errors import StvmError, one_line
from stvm.method.label_views import seen_sizes
from stvm.networks import SegmentationNetwork, find_network, preserve_modes
from stvm.settings import Settings
from stvm.settings.batch_norm_limits import labels_offline
from stvm.settings.protocols import Size, find_protocol


@dataclass(frozen=True)
class TriedPass:
    """A pass of the network.

    Attributes:
        images: number of images.
        size: their height and width.
        advice: settings that change it, for people.
        trains: whether the network is in training mode.
    """

    images: int
    size: Size
    advice: str
    trains: bool = False


def passes_of(settings: Settings) -> tuple[TriedPass, ...]:
    """Passes that a trial does, each once; none for a network whose needs are known."""
    if not find_network(settings.network.network).tried:
        return ()
    found: dict[tuple[int, Size, bool], TriedPass] = {}
    for one in (*_in_training(settings), *_of_whole_images(settings)):
        found.setdefault((one.images, one.size, one.trains), one)
    return tuple(found.values())


def _in_training(settings: Settings) -> Iterator[TriedPass]:
    method, training, source = settings.method, settings.training, settings.source
    if method.adapts:
        crop = (training.crop_height, training.crop_width)
        images = training.batch // training.accumulate
        yield TriedPass(images, crop, "batch or crop size", True)
        for size in seen_sizes(crop, method.label_views, method.label_scale):
            yield TriedPass(1, size, "crop size, label_scale or label_views")
        if method.labeller_bn == "batch" and labels_offline(method):
            yield TriedPass(1, (settings.data.height, settings.data.width), "procedure", True)
    if not source.source_checkpoint or method.procedure == "oracle":
        images = source.source_batch // source.source_accumulate
        crop = settings.source_crop()
        if method.procedure == "oracle" and source.source_checkpoint:
            crop = (training.crop_height, training.crop_width)
        yield TriedPass(images, crop, "source_batch or crop size", True)


def _of_whole_images(settings: Settings) -> Iterator[TriedPass]:
    data, method, evaluation = settings.data, settings.method, settings.evaluation
    own, protocol = (data.height, data.width), find_protocol(evaluation.protocol)
    yield TriedPass(1, own, "height or width")
    height, width = protocol.sizes(*own)[0]
    yield TriedPass(1, (height, width), "height, width or protocol")
    for scale in protocol.scales if evaluation.multi_scale else ():
        scaled = round(scale * height), round(scale * width)
        yield TriedPass(1, scaled, "height or width, or leave out multi_scale")
    for size in seen_sizes(own, method.label_views, method.label_scale) if method.adapts else []:
        yield TriedPass(1, size, "height, width, label_scale or label_views")
    if method.procedure == "adapt" and not method.st and has_source_val(data):
        yield TriedPass(1, data.source_size(), "source_height or source_width")


def try_passes(settings: Settings, network: SegmentationNetwork) -> None:
    """Pass random images as the trial will do.

    Raises:
        StvmError: the network cannot take them.
    """
    for one in passes_of(settings):
        try_pass(one, network)


def try_pass(one: TriedPass, network: SegmentationNetwork) -> None:
    """Pass random images on the network's device.

    Raises:
        StvmError: the network cannot take them.
    """
    like = next(network.parameters())
    try:
        with torch.no_grad(), torch.random.fork_rng([]), preserve_modes(network):
            network.train(one.trains)(torch.rand(one.images, 3, *one.size).to(like.device))
    except Exception as error:  # the code is of others
        what = "crops" if one.trains else "image" if one.images == 1 else "images"
        raise StvmError(
            f"{network.architecture.network} cannot take {one.images} {what} of "
            f"{one.size[0]}x{one.size[1]} ({one_line(error)}): try another {one.advice}"
        ) from None


def try_shapes(
    network: SegmentationNetwork, input_size: Callable[[Size], Size], paths: Iterable[Path]
) -> None:
    """Pass a random image of each size at which the network will label some images.

    Args:
        network: network; one whose needs are known is not tried.
        input_size: function from an image's height and width to those that the network sees.
        paths: files of the images.

    Raises:
        StvmError: the network cannot take one of them; the message names the file.
    """
    if not find_network(network.architecture.network).tried:
        return
    first: dict[Size, Path] = {}
    for path in paths:
        width, height = read_size(path)
        first.setdefault(input_size((height, width)), path)
    for size, path in first.items():
        try_pass(TriedPass(1, size, f"height, or leave out images of the shape of {path}"), network)
