"""Each objective on the paper's networks: two steps on fake CUDA tensors, and its memory.

A fake tensor has a device and a size and no contents, so that an operation on a mix of devices is
refused as on a GPU; see `tests/training/test_devices.py`.
"""

from functools import lru_cache

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stvm.memory.estimate import Phase, phases
from stvm.networks import build_network
from stvm.objectives.objective import TargetBatch
from stvm.settings import PEERS, Settings
from stvm.settings.presets import find_preset
from stvm.training.adaptation import build
from stvm.training.divergence import DivergenceMonitor
from stvm.training.peer_builder import PeerAdaptation
from tests.helpers.fake_gpu import GPU, fake_gpu

CLASSES, SIZE = 5, 65
NETWORKS = ("deeplabv3_resnet50", "deeplabv2_resnet101")

cuda = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="torch without CUDA has no fake CUDA tensors"
)


def built(procedure: str, network: str) -> PeerAdaptation:
    source = build_network(network, 16, CLASSES).to(GPU).eval()
    adaptation = build(Settings().replace(procedure=procedure), source, CLASSES)
    assert isinstance(adaptation, PeerAdaptation)
    # torch has no fake for fused SGD.
    for group in adaptation.optimizers[0].param_groups:
        assert group["fused"]
        group |= {"fused": False, "foreach": False}
    return adaptation


@cuda
@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("procedure", PEERS)
def test_every_tensor_of_two_steps_of_the_papers_networks_is_on_the_gpu(
    procedure: str, network: str
) -> None:
    with fake_gpu(SIZE):
        adaptation = built(procedure, network)
        finite = DivergenceMonitor(0, GPU, "lr")
        for iteration in (1, 2):
            images = torch.rand(2, 3, SIZE, SIZE, device=GPU)
            offline = adaptation.objective.labels_offline
            labels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8, device=GPU) if offline else None
            report = adaptation.step(TargetBatch(images, labels), iteration)
            finite.check_loss(iteration, report.loss)
            values = [v for v in report.measured.values() if isinstance(v, Tensor)]
            assert {v.device for v in (report.loss, *values)} == {GPU}
        lasting = [
            *(network.state_dict() for network in adaptation.networks()),
            *(state for o in adaptation.optimizers for state in o.state.values()),
        ]
        tensors = [leaf for leaf in tree_leaves(lasting) if isinstance(leaf, Tensor)]
        assert len(tensors) > 300 and {t.device for t in tensors} == {GPU}


@lru_cache
def estimated(procedure: str) -> Phase:
    """The adaptation of the paper's network; weights and gradients do not depend on the crop."""
    given = {"source_checkpoint": "none", "source_root": "a", "target_root": "b"}
    settings = find_preset("gta5-cityscapes-deeplabv2").settings(
        **given, procedure=procedure, crop_height=65, crop_width=65
    )
    return next(phase for phase in phases(settings) if phase.name == "adaptation")


@pytest.mark.slow
def test_the_memory_of_the_papers_network_has_as_many_copies_as_the_objective_needs() -> None:
    """Source model and student; CoTTA has teacher and anchor too, and SHOT trains no classifier."""
    weights = {name: estimated(name).parts["weights"] for name in ("sfdatar", "shotim", "cotta")}
    assert weights["sfdatar"] == weights["shotim"]
    assert weights["cotta"] == pytest.approx(2 * weights["sfdatar"])
    gradients = {name: estimated(name).parts["gradients"] for name in ("sfdatar", "shotim")}
    assert 0 < gradients["sfdatar"] - gradients["shotim"] < 0.1 * gradients["sfdatar"]
