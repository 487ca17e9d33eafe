"""The mean teacher's schedule, what is augmented, the order of the step, and AdaBN's averages."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stvm.data.batches import full_batches
from stvm.data.streets.street_images import ArrayImages, LabelledArrays
from stvm.evaluation.evaluate import evaluate
from stvm.method.adabn import adapt_batch_norm
from stvm.method.mean_teacher import Labeller, MeanTeacher, frozen_copy
from stvm.networks import build_network
from stvm.networks.shared_convolutions import share_convolutions
from stvm.settings import Settings
from stvm.training.builder import build_adaptation
from tests.helpers.tiny_settings import tiny


def test_the_teacher_moves_by_the_smoothing_factor_once_a_period() -> None:
    torch.manual_seed(0)
    teacher = MeanTeacher(build_network("small_deeplab", 8, 4), momentum=0.25, period=3, bn="keep")
    student = build_network("small_deeplab", 8, 4)
    slow = [p.clone() for p in teacher.parameters()]
    for iteration in range(1, 8):
        with torch.no_grad():
            for p in student.parameters():
                p += 0.1
        teacher.update(student, iteration)
        if iteration in (3, 6):
            pairs = zip(slow, student.parameters(), strict=True)
            slow = [0.75 * old + 0.25 * new.detach() for old, new in pairs]
        for ours, expected in zip(teacher.parameters(), slow, strict=True):
            torch.testing.assert_close(ours, expected)


def test_noise_reaches_the_student_alone_and_a_patch_never_its_own_image() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    step = build_adaptation(tiny(), source, 5).step
    seen: dict[str, Tensor] = {}
    order: list[str] = []

    def augment(images: Tensor) -> Tensor:
        return images * 0.5

    def spy(name: str) -> None:
        original = getattr(step.bank, name)

        def call(*args: Tensor) -> object:
            order.append(name)
            seen[name] = args[0].clone()
            return original(*args)

        setattr(step.bank, name, call)

    labeller = step.label

    def label(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen["label"] = images.clone()
        return labeller(images)

    step.augment, step.label = augment, label  # type: ignore[assignment]
    spy("store")
    spy("paste")
    step.student.register_forward_pre_hook(lambda _, x: seen.update(student=x[0].clone()))
    images = torch.rand(2, 3, 32, 32)
    step(images, 1)
    assert torch.equal(seen["label"], images) and torch.equal(seen["store"], images)
    assert torch.equal(seen["paste"], images * 0.5) and torch.equal(seen["student"], images * 0.5)
    assert order == ["paste", "store"]
    step(images, 2)
    assert not torch.equal(seen["student"], images * 0.5)


@pytest.mark.parametrize("bn", ["eval", "batch"])
def test_tracked_statistics_follow_what_the_teacher_labels(bn: str) -> None:
    torch.manual_seed(0)
    network = frozen_copy(build_network("small_deeplab", 8, 4))
    before = copy.deepcopy(network.state_dict())
    Labeller(network, bn, track=True)(torch.rand(2, 3, 32, 32))  # type: ignore[arg-type]
    after = network.state_dict()
    moved = [k for k in before if "running" in k and not torch.equal(before[k], after[k])]
    assert moved == [k for k in before if "running" in k]
    assert all(
        torch.equal(before[k], after[k]) for k in before if "running" not in k and "num" not in k
    )
    assert not network.training


def test_a_frozen_batch_norm_of_the_student_stays_the_sources() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    frozen = tiny(student_bn="frozen", mt=False, labeller="student", evaluated="student")
    built = build_adaptation(frozen, source, 5)
    for iteration in (1, 2):
        built.step(torch.rand(2, 3, 32, 32), iteration)
    ours, before = built.student.state_dict(), source.state_dict()
    norm = [k for k in before if k.startswith("features.1.")]
    assert len(norm) == 5 and all(torch.equal(ours[k], before[k]) for k in norm)
    assert not torch.equal(ours["features.0.weight"], before["features.0.weight"])
    assert built.student.training


def test_adabn_averages_the_statistics_of_the_batches() -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 8, 4).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    conv, norm = network.features[0], network.features[1]  # type: ignore[index]
    means, variances = [], []
    for start in (0, 2, 4):
        batch = torch.from_numpy(pixels[start : start + 2]).permute(0, 3, 1, 2).float() / 255
        maps = conv((batch - network.mean) / network.std).detach()
        means.append(maps.mean((0, 2, 3)))
        variances.append(maps.var((0, 2, 3)))
    adapt_batch_norm(network, full_batches(ArrayImages(pixels), torch.device("cpu"), 2))
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0))
    assert not network.training and norm.momentum == 0.1


@pytest.mark.slow
def test_the_papers_network_takes_the_step_and_reads_distances_without_dropout() -> None:
    torch.manual_seed(0)
    source = build_network("deeplabv3_resnet50", 64, 3)
    settings = Settings().replace(network="deeplabv3_resnet50", n_f=8, ema_period=1)
    built = build_adaptation(settings, source, 3)
    for iteration in (1, 2):
        report = built.step(torch.rand(2, 3, 32, 32), iteration)
        assert torch.isfinite(report.loss) and torch.isfinite(report.metric_loss)
    assert built.metric
    labels, _, _, features = built.step.label(torch.rand(1, 3, 32, 32))
    state = copy.deepcopy(built.metric.network.state_dict())
    first, second = (built.metric.distances(features, labels) for _ in range(2))
    assert torch.equal(first, second)
    for name, value in built.metric.network.state_dict().items():
        assert torch.equal(value, state[name]), name
    one = LabelledArrays(np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 32, 32), np.uint8))
    assert 0 <= evaluate(built.student, one, 3, torch.device("cpu")).miou <= 1


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_that_two_passes_share_are_computed_once_and_change_nothing(
    channels_last: bool,
) -> None:
    counts, results = [], []
    for shares in (False, True):
        torch.manual_seed(0)
        source = build_network("deeplabv3_resnet50", 64, 3)
        small = {"network": "deeplabv3_resnet50", "n_f": 8, "channels_last": channels_last}
        built = build_adaptation(Settings().replace(**small), source, 3)
        assert built.metric and built.metric.shares
        built.metric.shares = shares
        labels, confidence, doubt, features = built.step.label(torch.rand(2, 3, 32, 32))
        with FlopCounterMode(display=False) as counter:
            reading = built.metric.train_step(features, labels, confidence, doubt)
        counts.append(counter.get_total_flops())
        weights = built.metric.network.state_dict()
        results.append([reading.distances, reading.loss, *weights.values(), torch.rand(3)])
        assert all("forward" not in vars(module) for module in built.metric.network.modules())
    assert counts[1] < 0.75 * counts[0]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_convolution_changed_in_place_is_computed_again() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(inplace=True))
    features = torch.rand(1, 3, 4, 4)
    with share_convolutions(network, features):
        first, second, other = network(features), network(features), network(features.clone())
    assert torch.equal(first, second) and torch.equal(first, other)
    assert first.data_ptr() != second.data_ptr()


def test_photometric_noise_keeps_shape_range_and_differs_by_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    step = build_adaptation(tiny(), build_network("small_deeplab", 16, 5), 5).step
    images = torch.rand(1, 3, 32, 32).repeat(8, 1, 1, 1)
    before = images.clone()
    noisy = step.augment(images)
    assert torch.equal(images, before) and noisy.shape == images.shape
    assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1
    assert len({float(image.mean()) for image in noisy}) > 4
