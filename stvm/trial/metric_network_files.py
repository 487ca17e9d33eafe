"""The metric network of a trial on disk, so that reliability can be read after the trial."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.files import write_whole
from stvm.method.distance import distance_to_predicted
from stvm.method.label_views import resized
from stvm.method.reliability import reliability
from stvm.networks import SegmentationNetwork, load_weights
from stvm.pretrained.weight_files import read_file
from stvm.settings import MethodSettings
from stvm.training.peer_builder import Adapted

_LABELLER, _HEAD, _PROXIES = "labeller.", "head.", "proxies"


@dataclass(frozen=True)
class ReliabilityReader:
    """Metric network, proxies and the network whose features they were trained on.

    Attributes:
        labeller: network that labelled in training (section III-C: the teacher), in eval mode.
        head: metric network, features -> metric features (N, N_f, h, w), in eval mode.
        proxies: (C, N_f).
        alpha: sharpness of eq. 4.
        beta: offset of eq. 4.
        scale: size at which the labeller saw the images in training, relative to theirs.
    """

    labeller: SegmentationNetwork
    head: nn.Module
    proxies: Tensor
    alpha: float
    beta: float
    scale: float = 1.0

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Reliability (N, H, W) of labels (N, H, W) that the images (N, 3, H', W') were given.

        The distance of eq. 3 is read at the size of the labels.
        """
        embeddings = self.head(self.labeller.extract(resized(images, self.scale)))
        return reliability(
            distance_to_predicted(embeddings, self.proxies, labels), self.alpha, self.beta
        )


def save_metric(
    adaptation: Adapted, reported: SegmentationNetwork, method: MethodSettings, path: Path
) -> None:
    """Write metric network and proxies as safetensors, whole or not at all.

    The labelling network is written with them where it is not the one that is reported.

    Raises:
        StvmError: no space, no permission.
    """
    metric, labeller = adaptation.metric, adaptation.labelling
    if metric is None:
        return
    state = {_HEAD + k: v for k, v in metric.network.state_dict().items()}
    state[_PROXIES] = metric.proxies
    if labeller is not reported:
        state |= {_LABELLER + k: v for k, v in labeller.state_dict().items()}
    content = save(
        {k: v.detach().cpu().contiguous() for k, v in state.items()},
        {
            "alpha": repr(method.alpha),
            "beta": repr(method.beta),
            "label_scale": repr(method.label_scale),
        },
    )
    write_whole(path, content)


def open_metric(
    path: Path, reported: SegmentationNetwork, labeller: SegmentationNetwork
) -> ReliabilityReader:
    """The metric network that `save_metric` wrote.

    Args:
        path: path of the file.
        reported: network that stands beside it, on the device to read on.
        labeller: another of the same architecture; it takes the labelling network's weights.

    Raises:
        StvmError: unreadable, or of another network.
    """
    state, facts = read_file(path)
    if _PROXIES not in state or not {"alpha", "beta"} <= facts.keys():
        raise StvmError(f"{path}: no metric network of a trial; run it again with keep_model=true")
    device = next(reported.parameters()).device
    proxies = state[_PROXIES].to(device)
    head = reported.new_head(proxies.shape[1])
    load_weights(head, _part(state, _HEAD), str(path))
    weights = _part(state, _LABELLER)
    if weights:
        load_weights(labeller, weights, str(path))
    return ReliabilityReader(
        labeller.to(device).eval() if weights else reported,
        head.to(device).eval(),
        proxies,
        float(facts["alpha"]),
        float(facts["beta"]),
        float(facts.get("label_scale", 1.0)),
    )


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
