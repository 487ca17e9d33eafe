"""The network at which an adaptation starts: the source model, or one nearer to the target."""

import copy
from collections.abc import Collection

from stvm.data.batches import full_batches
from stvm.data.images import Images
from stvm.errors import StvmError
from stvm.method.adabn import adapt_batch_norm
from stvm.method.mixed_statistics import batch_norms, mix_statistics
from stvm.networks import SegmentationNetwork
from stvm.settings import PEERS, MethodSettings
from stvm.training.builder import device_of
from stvm.training.loop import Progress
from stvm.training.pass_progress import told

_IDLE_WITHOUT_NORM = {"student_bn": "train", "teacher_bn": "copy", "labeller_bn": "eval"}
"""Settings that have no effect without batch norm, with the value that asks for none."""


def starting_network(
    method: MethodSettings,
    source: SegmentationNetwork,
    images: Images,
    progress: Progress | None = None,
) -> SegmentationNetwork:
    """The network of which student, teacher and labelling network are copies.

    Its running statistics are `start_bn` of the way from the source model's to those that AdaBN
    measures on the target images. With `student_bn=share` its batch norms keep that share, in every
    pass that takes statistics from a batch: of student, teacher and labelling network.

    Args:
        method: Settings of the method.
        source: Source model; it is only read.
        images: Unlabelled target images, each read once if `start_bn` is above 0.
        progress: Progress of the training, which hears of that pass if it has `tell_pass`.

    Raises:
        StvmError: The settings need batch norm, and the network has none.
    """
    refuse_without_batch_norm(method, source)
    if method.start_bn == 0:
        return keeping_share(method, source, source)
    start = copy.deepcopy(source)
    loaded = full_batches(images, device_of(source))
    batches = told(loaded, progress, f"start_bn={method.start_bn:g}", len(images))
    adapt_batch_norm(start, batches, share=method.start_bn)
    return keeping_share(method, start, source)


def keeping_share(
    method: MethodSettings, start: SegmentationNetwork, source: SegmentationNetwork
) -> SegmentationNetwork:
    """`start` itself, or with `student_bn=share` a copy whose batch norms keep the share."""
    if method.student_bn != "share":
        return start
    start = copy.deepcopy(start)
    mix_statistics(start, source, method.start_bn)
    return start


def needing_batch_norm(method: MethodSettings, given: Collection[str] = ()) -> list[str]:
    """Settings, as `name=value`, that need a network with batch norm.

    Args:
        method: Settings of the method.
        given: Names of the settings that the user gave. Some have no effect without batch norm;
            a preset or an objective may bring them all the same.
    """
    peer = PEERS.get(method.procedure)
    asked = {
        f"procedure={method.procedure}": (
            method.procedure == "adabn" or (peer is not None and peer.needs_batch_norm)
        ),
        f"start_bn={method.start_bn:g}": method.adapts and method.start_bn > 0,
        "student_bn=share": method.adapts and method.student_bn == "share",
    }
    idle = [
        f"{name}={getattr(method, name)}"
        for name, usual in _IDLE_WITHOUT_NORM.items()
        if name in given and method.adapts and getattr(method, name) != usual
    ]
    return list(dict.fromkeys([*(s for s, is_asked in asked.items() if is_asked), *idle]))


def _mend(method: MethodSettings) -> str:
    """Advice: the ablation brings AdaBN by itself, the other settings are the user's."""
    if method.procedure == "adabn":
        return "leave AdaBN out (ablation.py --without AdaBN --without 'partial AdaBN')"
    return "leave the setting out"


def refuse_without_batch_norm(
    method: MethodSettings, network: SegmentationNetwork, given: Collection[str] = ()
) -> None:
    """Refuse settings of batch-norm statistics for a network that has none.

    Args:
        method: Settings of the method.
        network: Network to look at.
        given: Names of the settings that the user gave.

    Raises:
        StvmError: The message names the setting.
    """
    named = needing_batch_norm(method, given)
    if named and not batch_norms(network):
        raise StvmError(
            f"{named[0]}: the network has no batch norm with running statistics, so there are none "
            f"to move: {_mend(method)}, or choose a network with batch norm"
        )
