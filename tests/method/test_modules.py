"""Parts that hold state are modules: it moves with `.to` and is in `state_dict`."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import stvm
from stvm.networks.forward_mode import ForwardMode


def batch(seed: int = 0) -> tuple[Tensor, ...]:
    """Features, labels, confidence of two images."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(2, 6, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator)
    return features, labels, torch.rand(2, 16, 16, generator=generator)


def learner(seed: int, **changes: Any) -> stvm.MetricLearner:
    torch.manual_seed(seed)
    sizes = {"num_classes": 3, "embedding_size": 5}
    return stvm.MetricLearner(nn.Conv2d(6, 5, 1), **sizes, seed=seed, **changes)


def test_a_metric_learner_goes_on_from_its_state_dict() -> None:
    one, two = learner(0), learner(1)
    for seed in range(3):
        one.train_step(*batch(seed))
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for seed in range(3, 5):
        outputs = [each.train_step(*batch(seed)) for each in (one, two)]
        assert torch.equal(outputs[0].distances, outputs[1].distances)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert torch.equal(one.thresholds.values, two.thresholds.values)
    names = {"network.weight", "network.bias", "proxies", "thresholds.values", "thresholds.doubts"}
    assert names < set(one.state_dict())


def test_a_metric_learner_moves_with_the_state_of_its_optimiser() -> None:
    """float64 and `meta` stand for a GPU."""
    metric = learner(0)
    metric.train_step(*batch())
    metric.to(torch.float64)
    features, labels, confidence = batch(1)
    metric.train_step(features.double(), labels, confidence.double())
    tensors = [*metric.parameters(), *metric.buffers()]
    moments = [s[k] for s in metric.optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")]
    assert {t.dtype for t in tensors + moments} == {torch.float64} and len(moments) == 6
    moved = learner(0).to("meta")
    assert {t.device.type for t in (*moved.parameters(), *moved.buffers())} == {"meta"}


def test_a_metric_learner_begins_where_its_head_is() -> None:
    head = nn.Conv2d(6, 5, 1, device="meta")
    metric = stvm.MetricLearner(head, num_classes=3, embedding_size=5)
    tensors = [*metric.parameters(), *metric.buffers()]
    assert len(tensors) == 5 and {t.device.type for t in tensors} == {"meta"}


@pytest.mark.parametrize("seed", [0, 7])
def test_the_pixels_of_a_metric_learner_are_drawn_by_its_seed(seed: int) -> None:
    assert torch.equal(
        learner(seed).generator.get_state(), torch.Generator().manual_seed(seed).get_state()
    )


MODES = [ForwardMode(), ForwardMode(channels_last=True), ForwardMode(precision="bfloat16")]


@pytest.mark.parametrize("mode", MODES, ids=["default", "channels_last", "bfloat16"])
def test_a_copy_of_a_metric_learner_trains_its_own_network(mode: ForwardMode) -> None:
    metric = learner(0, forward_mode=mode)
    metric.train_step(*batch())
    # A file is a copy too.
    file = io.BytesIO()
    torch.save(metric, file)
    file.seek(0)
    copies = [copy.deepcopy(metric), torch.load(file, weights_only=False)]
    before = [p.detach().clone() for p in metric.parameters()]
    for one in copies:
        one.train_step(*batch(1))
        pairs = zip(metric.parameters(), before, one.parameters(), strict=True)
        assert all(torch.equal(p, old) and not torch.equal(p, new) for p, old, new in pairs)
    metric.train_step(*batch(1))
    for one in copies:
        assert all(map(torch.equal, metric.parameters(), one.parameters()))


@pytest.mark.parametrize("mode", MODES, ids=["default", "channels_last", "bfloat16"])
@pytest.mark.parametrize("track", [False, True])
def test_a_copy_of_a_labeller_labels_with_its_own_network(mode: ForwardMode, track: bool) -> None:
    torch.manual_seed(0)
    network = stvm.wrap_network(features=nn.Conv2d(3, 4, 1), classifier=nn.Conv2d(4, 3, 1))
    labeller = stvm.Labeller(network, track=track, forward_mode=mode)
    copied, images = copy.deepcopy(labeller), torch.rand(2, 3, 8, 8)
    before = labeller(images)
    assert all(map(torch.equal, before, copied(images)))
    with torch.no_grad():
        copied.network.classifier.bias += torch.tensor([0.0, 50.0, 0.0])
    assert all(map(torch.equal, before, labeller(images)))
    assert (copied(images)[0] == 1).all() and not (before[0] == 1).all()


def test_channels_that_do_not_fit_are_told_in_a_line() -> None:
    metric = stvm.MetricLearner(nn.Conv2d(6, 7, 1), num_classes=3, embedding_size=5)
    with pytest.raises(stvm.StvmError, match="gives 7 channels and embedding_size is 5"):
        metric.train_step(*batch())


def filled() -> stvm.PatchBank:
    bank = stvm.PatchBank(3, classes_per_image=2, seed=4)
    torch.manual_seed(0)
    for seed in range(3):
        _, labels, confidence = batch(seed)
        bank.store(torch.rand(2, 3, 16, 16), labels, confidence, torch.zeros(2, 16, 16))
    return bank


def test_a_bank_goes_on_from_its_state_dict_and_moves() -> None:
    one, two = filled(), stvm.PatchBank(3, classes_per_image=2)
    two.load_state_dict(one.state_dict())
    assert two.banked == one.banked == [6, 6, 6]
    blank = torch.zeros(2, 3, 16, 16), torch.zeros(2, 16, 16).long(), torch.zeros(2, 16, 16)
    for a, b, c in zip(one(*blank), two.paste(*blank), blank, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    for home, on_cpu in (("meta", False), ("cpu", True)):
        bank = filled()
        bank.on_cpu = on_cpu
        patches = [p for buffer in bank.to("meta").patches for p in buffer]
        assert len(patches) == 18
        assert {t.device.type for p in patches for t in (p.image, p.mask, p.reliability)} == {home}


def test_patches_that_are_loaded_go_where_the_bank_is() -> None:
    state = filled().state_dict()
    for home, on_cpu in (("meta", False), ("cpu", True)):
        bank = stvm.PatchBank(3, on_cpu=on_cpu).to("meta")
        bank.load_state_dict(state)
        patches = [p for buffer in bank.patches for p in buffer]
        assert len(patches) == 18
        assert {t.device.type for p in patches for t in (p.image, p.mask, p.reliability)} == {home}


def test_the_state_of_a_bank_holds_nothing_but_patches_and_draws() -> None:
    state = filled().state_dict()
    assert list(state) == ["_extra_state"]
    assert state["_extra_state"].keys() == {"buffers", "banked", "generator"}


def test_a_bank_draws_by_its_seed_or_by_the_generator_it_is_given() -> None:
    blank = torch.zeros(4, 3, 16, 16), torch.zeros(4, 16, 16).long(), torch.zeros(4, 16, 16)
    banks = [filled() for _ in range(3)]
    banks[1].generator = torch.Generator().manual_seed(4)
    banks[2].generator.manual_seed(5)
    first, second, third = (bank.paste(*blank)[0] for bank in banks)
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_thresholds_are_buffers() -> None:
    thresholds = stvm.ClassThresholds(3)
    _, labels, confidence = batch()
    mask = thresholds(confidence, labels)
    again = stvm.ClassThresholds(3)
    again.load_state_dict(thresholds.state_dict())
    assert torch.equal(again.select(confidence, labels), mask) and 0.1 < mask.float().mean() < 0.3


def test_a_teacher_of_any_module_follows_and_keeps_no_graph() -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    teacher = stvm.MeanTeacher(student, momentum=0.25, period=2)
    before = teacher.network[0].weight.clone()
    with torch.no_grad():
        student[0].weight += 1
    teacher.update(student, 1)
    assert torch.equal(teacher.network[0].weight, before)
    teacher.update(student, 2)
    torch.testing.assert_close(teacher.network[0].weight, before + 0.25)
    images = torch.rand(2, 3, 8, 8)
    mean = teacher.network[0](images).mean((0, 2, 3))
    output = teacher(images)
    assert not output.requires_grad and not (output == 0).any()
    torch.testing.assert_close(teacher.network[1].running_mean, 0.1 * mean)
    with pytest.raises(stvm.StvmError, match="Sequential, whose features are not known"):
        teacher.labeller()


@pytest.mark.parametrize("bn", ["copy", "ema", "keep"])
def test_a_teacher_that_does_not_track_keeps_its_statistics_when_it_is_called(bn: Any) -> None:
    torch.manual_seed(0)
    teacher = stvm.MeanTeacher(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), bn=bn)
    before = copy.deepcopy(teacher.state_dict())
    images = torch.rand(2, 3, 8, 8)
    output = teacher(images)
    # Fresh statistics are mean 0 and variance 1.
    torch.testing.assert_close(output, teacher.network[0](images), rtol=1e-4, atol=1e-4)
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_adabn_takes_any_network_and_any_batches() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, momentum=0.3)
    batches = [torch.rand(n, 3, 4, 4) for n in (2, 5)]
    stvm.adapt_batch_norm(nn.Sequential(norm, nn.Dropout()), iter(batches))
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    assert norm.momentum == 0.3 and not norm.training
