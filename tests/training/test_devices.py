"""No tensor of a step lies on another device than the others, shown without a GPU.

The whole step runs on fake CUDA tensors: labelling, thresholds, pixel draw, metric network,
reliability, augmentation, banking and pasting, the student's loss, both optimisers and the teacher.
A fake tensor has a device and a size and no contents; an operation on a mix of devices is refused
as on a GPU. Contents that the step asks for (how many pixels were selected, which regions are
banked, what was drawn) are given by `Contents`, and the backward pass is walked node by node,
since autograd's engine would ask the driver; see `tests/helpers/fake_gpu.py`.

What remains unseen: the GPU's own kernels and their rounding; fused SGD, for which torch has no
fake (the step takes plain SGD here); what torch itself lets pass on a GPU (a CPU scalar, an index
on the CPU); patches cut as connected parts, which scipy labels on the CPU; and the memory of pinned
batches. `benchmarks/step.py` on a machine with a GPU shows these.
"""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from stvm.networks import build_network
from stvm.settings import Settings
from stvm.source_model.supervised import SupervisedTraining
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.device import computing
from stvm.training.divergence import DivergenceMonitor
from tests.helpers.fake_gpu import GPU, SELECTED, backward, fake_gpu

CLASSES = 5

pytestmark = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="torch without CUDA has no fake CUDA tensors"
)


class Seen(TorchDispatchMode):
    """Operations by name and arguments, and those that move a tensor to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[str, tuple[Any, ...]]] = []
        self.moved: list[tuple[str, str, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((str(func), args))
        if "_to_copy" in str(func) and args[0].device.type != result.device.type:
            self.moved.append((args[0].device.type, result.device.type, args[0].numel()))
        return result


def built(network: str, num_classes: int = CLASSES, **changes: Any) -> Adaptation:
    """An adaptation on the fake GPU."""
    source = build_network(network, 16, num_classes).to(GPU)
    small = {"n_f": 16, "ema_period": 1, "pixels_per_class": 8}
    adaptation = build_adaptation(Settings().replace(**small | changes), source, num_classes)
    for group in adaptation.optimizers[0].param_groups:
        assert group["fused"]
        group |= {"fused": False, "foreach": False}
    return adaptation


def take_steps(adaptation: Adaptation, size: int, steps: int = 2) -> None:
    finite = DivergenceMonitor(0, GPU, "lr")
    for iteration in range(1, steps + 1):
        report = adaptation.step(torch.rand(2, 3, size, size, device=GPU), iteration)
        finite.check_loss(iteration, report.loss + report.metric_loss)
        measured = [value for value in vars(report).values() if isinstance(value, Tensor)]
        assert len(measured) > 4 and {value.device for value in measured} == {GPU}


def on_the_gpu(adaptation: Adaptation) -> bool:
    """All that a step made or moved and that stays."""
    bank: Any = adaptation.step.bank
    metric = adaptation.metric
    assert metric and sum(map(len, bank.patches))
    lasting = [
        *(vars(patch) for buffer in bank.patches for patch in buffer),
        *(state for optimizer in adaptation.optimizers for state in optimizer.state.values()),
        *(network.state_dict() for network in adaptation.networks()),
        metric.thresholds.values,
    ]
    tensors = [leaf for leaf in tree_leaves(lasting) if isinstance(leaf, Tensor)]
    return len(tensors) > 50 and {t.device for t in tensors} == {GPU}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"labeller_bn": "batch", "teacher_bn": "ema", "patch_image": "augmented"},
        {"teacher_bn": "track", "metric_balance": "repeat", "pseudo_label_share": 0.5},
        {"channels_last": True, "loss_norm": "weights", "teacher_bn": "keep"},
    ],
    ids=["default", "batch", "track", "channels_last"],
)
def test_every_tensor_of_a_step_is_on_the_gpu(changes: dict[str, Any]) -> None:
    with fake_gpu(32):
        adaptation = built("small_deeplab", **changes)
        take_steps(adaptation, 32)
        assert on_the_gpu(adaptation)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["deeplabv3_resnet50", "deeplabv2_resnet101"])
def test_every_tensor_of_a_step_of_the_papers_networks_is_on_the_gpu(network: str) -> None:
    with fake_gpu(65):
        adaptation = built(network)
        take_steps(adaptation, 65)
        assert on_the_gpu(adaptation)


def test_patches_kept_on_the_cpu_come_back_to_the_gpu() -> None:
    with fake_gpu(32):
        adaptation = built("small_deeplab", patches_on="cpu")
        take_steps(adaptation, 32)
        bank: Any = adaptation.step.bank
        assert {p.image.device.type for buffer in bank.patches for p in buffer} == {"cpu"}


def test_a_step_moves_the_draw_of_pixels_and_nothing_larger() -> None:
    """Every other tensor that goes from one device to the other would make the GPU wait."""
    with fake_gpu(32):
        adaptation = built("small_deeplab")
        take_steps(adaptation, 32, 1)
        with Seen() as seen:
            take_steps(adaptation, 32, 1)
    assert {(origin, to) for origin, to, _ in seen.moved} == {("cpu", "cuda")}
    # The draw, the places in it, and a small table of torchvision's hue for each image.
    assert sorted(count for *_, count in seen.moved) == [CLASSES - 1, 18, 18, SELECTED]


def test_the_backward_pass_of_these_tests_is_autograds() -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, CLASSES).train()
    labels, found = torch.randint(0, CLASSES, (2, 32, 32)), []
    images = torch.rand(2, 3, 32, 32)
    for run in (torch.Tensor.backward, backward):
        network.zero_grad()
        state = network.state_dict()
        run(torch.nn.functional.cross_entropy(network(images), labels))
        network.load_state_dict(state)
        found.append([p.grad for p in network.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "part",
    ["label", "learn_metric", "to_reliability", "select", "augment", "paste", "store", "student"],
)
def test_a_part_that_mixes_devices_is_refused(part: str) -> None:
    """Each part in turn hands on, or is given, a tensor that was left on the CPU."""

    def left(value: Any) -> Any:
        return value.cpu() if isinstance(value, Tensor) and value.dim() > 1 else value

    with fake_gpu(32):
        adaptation = built("small_deeplab")
        take_steps(adaptation, 32, 1)
        owner: Any = adaptation.step.bank if part in ("paste", "store") else adaptation.step
        whole = getattr(owner, part)

        def misplaced(*args: Any) -> Any:
            if part == "store":
                return whole(left(args[0]), *args[1:-1], left(args[-1]))
            result = whole(*args)
            if part == "learn_metric":
                return replace(result, distances=left(result.distances))
            return (
                (*map(left, result[:2]), *result[2:])
                if part in ("label", "paste")
                else left(result)
            )

        setattr(owner, part, misplaced)
        with pytest.raises(RuntimeError, match="device"):
            take_steps(adaptation, 32, 1)


_MAY_NOT_REPEAT = (
    "aten.upsample_bilinear2d_backward",
    "aten.nll_loss2d_forward",
    "aten._adaptive_avg_pool2d_backward",
    "aten.reflection_pad2d_backward",
    "aten.histc",
    "aten.put_",
    "aten.median.dim",
)
"""Of torch's list of what raises on a GPU in deterministic mode, what a step could come to use.
`nll_loss2d_forward` raises where it averages or adds up, and not with reduction 0."""


def may_not_repeat(name: str, args: tuple[Any, ...]) -> bool:
    if name.startswith("aten.nll_loss2d_forward"):
        return args[3] != 0
    return name.startswith(_MAY_NOT_REPEAT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["small_deeplab", pytest.param("deeplabv3_resnet50", marks=pytest.mark.long)]
)
def test_deterministic_mode_meets_nothing_that_raises_on_a_gpu(network: str) -> None:
    """Also that the sums of regions leave out `bincount`, whose weights raise there."""
    settings = Settings().replace(deterministic=True)
    weighed: list[bool] = []
    with fake_gpu(65), computing(settings.compute, torch.device("cpu")):
        adaptation = built(network, deterministic=True)
        counted = torch.bincount

        def bincount(*args: Any, **given: Any) -> Tensor:
            weighed.append(given.get("weights") is not None)
            return counted(*args, **given)

        with mock.patch.object(torch, "bincount", bincount), Seen() as seen:
            take_steps(adaptation, 65)
    assert weighed and not any(weighed)
    assert [name for name, args in seen.operations if may_not_repeat(name, args)] == []
    with fake_gpu(65), Seen() as seen:
        take_steps(built(network), 65, 1)
    assert [name for name, args in seen.operations if may_not_repeat(name, args)] != []


@pytest.mark.parametrize("deterministic", [False, True])
def test_source_training_is_on_the_gpu_and_can_be_deterministic(deterministic: bool) -> None:
    settings = Settings().replace(deterministic=deterministic)
    with fake_gpu(32), computing(settings.compute, torch.device("cpu")):
        network = build_network("small_deeplab", 16, CLASSES).to(GPU)
        training = SupervisedTraining(network, settings, torch.rand(CLASSES))
        for group in training.optimizer.param_groups:
            group |= {"fused": False, "foreach": False}
        labels = torch.zeros(2, 32, 32, dtype=torch.long)
        pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        with Seen() as seen:
            training.step(pixels, labels, 1)
    found = {name for name, args in seen.operations if may_not_repeat(name, args)}
    assert bool(found) != deterministic
    assert {to for _, to, _ in seen.moved} == {"cuda"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "ratio"),
    [
        pytest.param("deeplabv2_resnet101", 1.106, marks=pytest.mark.long),
        ("deeplabv3_resnet50", 1.208),
    ],
)
def test_a_full_size_step_takes_little_more_than_a_bare_mean_teachers(
    network: str, ratio: float
) -> None:
    """Floating-point operations at batch 2 of 512x512, 19 classes, N_f 128, forward and backward.

    With one pass of the metric network DeepLabV3 would take 1.196; the rest is what its head does
    behind the convolutions that its second pass, in eval mode, shares with the first.
    """
    counts = []
    for off in ({}, {"aug": False, "mgs": False, "mocm": False}):
        with fake_gpu(512):
            adaptation = built(network, num_classes=19, n_f=128, **off)
            with FlopCounterMode(display=False) as counter:
                adaptation.step(torch.rand(2, 3, 512, 512, device=GPU), 1)
        counts.append(counter.get_total_flops())
    assert counts[0] / counts[1] == pytest.approx(ratio, abs=5e-4)
