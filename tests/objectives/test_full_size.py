"""Each objective on the paper's networks: two steps on fake CUDA tensors, and its memory.

A fake tensor has a device and a size and no contents, so that an operation on a mix of devices is
refused as on a GPU; see `tests/training/test_devices.py`.
"""

from functools import lru_cache
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stvm.memory.estimate import Phase, phases
from stvm.networks import build_network
from stvm.objectives.objective import TargetBatch, WholeImages
from stvm.settings import PEERS, Settings
from stvm.settings.presets import find_preset
from stvm.training.adaptation import build
from stvm.training.device import computing
from stvm.training.divergence import DivergenceMonitor
from stvm.training.peer_builder import PeerAdaptation
from tests.helpers.fake_gpu import GPU, fake_gpu
from tests.training.test_devices import Seen, may_not_repeat

CLASSES, SIZE = 5, 65
NETWORKS = ("deeplabv3_resnet50", "deeplabv2_resnet101")

cuda = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="torch without CUDA has no fake CUDA tensors"
)


def built(procedure: str, network: str, **changes: Any) -> PeerAdaptation:
    source = build_network(network, 16, CLASSES).to(GPU).eval()
    adaptation = build(Settings().replace(procedure=procedure, **changes), source, CLASSES)
    assert isinstance(adaptation, PeerAdaptation)
    # torch has no fake for fused SGD.
    for group in adaptation.optimizers[0].param_groups:
        assert group["fused"]
        group |= {"fused": False, "foreach": False}
    return adaptation


def take_steps(adaptation: PeerAdaptation, steps: int = 2) -> None:
    finite = DivergenceMonitor(0, GPU, "lr")
    for iteration in range(1, steps + 1):
        images = torch.rand(2, 3, SIZE, SIZE, device=GPU)
        offline = adaptation.objective.labels_offline
        labels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8, device=GPU) if offline else None
        pixels = torch.zeros(2, 3, 2 * SIZE, SIZE, dtype=torch.uint8, device=GPU)
        whole = WholeImages(pixels, ((0, 0, 0), (3, SIZE, 0)))
        batch = TargetBatch(images, labels, whole if adaptation.objective.whole_images else None)
        report = adaptation.step(batch, iteration)
        finite.check_loss(iteration, report.loss)
        values = [v for v in report.measured.values() if isinstance(v, Tensor)]
        assert {v.device for v in (report.loss, *values)} == {GPU}


@cuda
@pytest.mark.slow
@pytest.mark.parametrize(
    "network", [NETWORKS[0], pytest.param(NETWORKS[1], marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "procedure",
    [
        name if name in ("minent", "urma") else pytest.param(name, marks=pytest.mark.long)
        for name in PEERS
    ],
)
def test_every_tensor_of_two_steps_of_the_papers_networks_is_on_the_gpu(
    procedure: str, network: str
) -> None:
    with fake_gpu(SIZE):
        adaptation = built(procedure, network)
        take_steps(adaptation)
        # AdamW that is not fused counts its steps on the CPU.
        states = [state for o in adaptation.optimizers for state in o.state.values()]
        lasting = [
            *(network.state_dict() for network in adaptation.networks()),
            *({k: v for k, v in state.items() if k != "step"} for state in states),
        ]
        tensors = [leaf for leaf in tree_leaves(lasting) if isinstance(leaf, Tensor)]
        assert len(tensors) > 300 and {t.device for t in tensors} == {GPU}


@cuda
@pytest.mark.slow
@pytest.mark.parametrize("procedure", PEERS)
def test_deterministic_mode_meets_nothing_that_raises_on_a_gpu(procedure: str) -> None:
    compute = Settings().replace(deterministic=True).compute
    weighed: list[bool] = []
    with fake_gpu(SIZE), computing(compute, torch.device("cpu")):
        adaptation = built(procedure, "small_deeplab", deterministic=True)
        counted = torch.bincount

        def bincount(*args: Any, **given: Any) -> Tensor:
            weighed.append(given.get("weights") is not None or len(args) > 1)
            return counted(*args, **given)

        with mock.patch.object(torch, "bincount", bincount), Seen() as seen:
            take_steps(adaptation)
    assert not any(weighed)
    assert [name for name, args in seen.operations if may_not_repeat(name, args)] == []


@lru_cache
def estimated(procedure: str) -> Phase:
    """The adaptation of the paper's network; weights and gradients do not depend on the crop."""
    given = {"source_checkpoint": "none", "source_root": "a", "target_root": "b"}
    settings = find_preset("gta5-cityscapes-deeplabv2").settings(
        **given, procedure=procedure, crop_height=65, crop_width=65
    )
    return next(phase for phase in phases(settings) if phase.name == "adaptation")


COPIES = {
    **dict.fromkeys(("tent", "minent", "maxsquares", "shotim", "shot", "srda", "sfdatar"), 2),
    **dict.fromkeys(("cbst", "crst", "iast", "ld"), 2),
    **{"hardst": 3, "urma": 3, "ldbe": 3, "dtst": 3, "cotta": 4, "hcl": 5},
}
"""Source model and student, and frozen start, teacher, anchor, moving average, historical network.
"""


@lru_cache
def bytes_of_network() -> tuple[int, int]:
    """Bytes of the paper's network with its buffers, and those of one classifier."""
    with torch.device("meta"):
        network = build_network("deeplabv2_resnet101", 16, 19)
    whole, classifier = [*network.parameters(), *network.buffers()], network.classifier.parameters()
    return tuple(sum(t.numel() * t.element_size() for t in ts) for ts in (whole, classifier))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize(
    "procedure",
    [name if name == "hcl" else pytest.param(name, marks=pytest.mark.long) for name in PEERS],
)
def test_the_memory_of_the_papers_network_counts_every_copy(procedure: str) -> None:
    whole, classifier = bytes_of_network()
    decoders = 4 * classifier if procedure == "urma" else 0
    assert estimated(procedure).parts["weights"] == COPIES[procedure] * whole + decoders
    assert PEERS[procedure].networks == COPIES[procedure] - 2


@pytest.mark.slow
@pytest.mark.long
def test_a_frozen_classifier_has_no_gradients() -> None:
    gradients = {name: estimated(name).parts["gradients"] for name in ("sfdatar", "shotim")}
    assert gradients["sfdatar"] - gradients["shotim"] == bytes_of_network()[1]
