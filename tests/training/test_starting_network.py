"""The network at which an adaptation starts: its batch norms, and networks that have none."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stvm.data.streets.street_images import ArrayImages
from stvm.errors import StvmError
from stvm.method.adabn import adapt_batch_norm
from stvm.method.mixed_statistics import MixedBatchNorm, batch_norms
from stvm.networks import SegmentationNetwork, build_network, wrap_network
from stvm.settings import Settings
from stvm.training.builder import build_adaptation
from stvm.training.starting_network import starting_network
from stvm.trial import inputs
from tests.helpers.tiny_settings import tiny

OFF = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
NEEDING = {
    "procedure=adabn": {"procedure": "adabn", **OFF},
    "start_bn=0.5": {"start_bn": 0.5},
    "student_bn=share": {"student_bn": "share"},
}


def images() -> ArrayImages:
    return ArrayImages(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))


def without_norm() -> SegmentationNetwork:
    return wrap_network(features=nn.Conv2d(3, 4, 3, 2, 1), classifier=nn.Conv2d(4, 5, 1))


def test_the_default_start_is_the_source_model_itself() -> None:
    source = build_network("small_deeplab", 8, 5)
    assert starting_network(Settings().method, source, images()) is source
    assert starting_network(Settings().method, without_norm(), images())


def test_student_teacher_and_labeller_keep_the_share_and_the_metric_network_does_not() -> None:
    torch.manual_seed(0)
    source = build_network("deeplabv3_resnet50", 0, 5)
    settings = tiny(network="deeplabv3_resnet50", start_bn=0.5, student_bn="share")
    before = {name: value.clone() for name, value in source.state_dict().items()}
    start = starting_network(settings.method, source, images())
    built = build_adaptation(settings, start, 5)
    assert built.metric
    for network in (built.student, built.teacher, built.step.label.network):
        norms = batch_norms(network)
        assert norms and all(isinstance(norm, MixedBatchNorm) for norm in norms)
        assert network.state_dict().keys() == before.keys()
    assert not any(isinstance(norm, MixedBatchNorm) for norm in batch_norms(built.metric.network))
    assert all(torch.equal(value, before[k]) for k, value in source.state_dict().items())


class NormAndRelu(nn.BatchNorm2d):
    """A batch norm with a forward pass of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, NormAndRelu])
def test_a_head_copied_from_the_classifier_has_the_batch_norm_that_the_source_model_has(
    kind: type[nn.BatchNorm2d],
) -> None:
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Conv2d(4, 8, 1), kind(8), nn.Conv2d(8, 5, 1))
    source = wrap_network(
        features=nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)), classifier=classifier
    )
    classifier[1].running_mean.fill_(7)
    settings = tiny(start_bn=0.5, student_bn="share")
    built = build_adaptation(settings, starting_network(settings.method, source, images()), 5)
    assert built.metric
    (norm,) = batch_norms(built.metric.network)
    assert type(norm) is kind
    fresh = kind(8).train()
    maps = torch.randn(2, 8, 4, 4)
    assert torch.equal(norm.train()(maps), fresh(maps))
    assert norm.state_dict().keys() == fresh.state_dict().keys()
    assert isinstance(batch_norms(built.student)[1], MixedBatchNorm)


def test_the_start_lies_the_share_of_the_way_and_what_is_fixed_is_the_sources() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 8, 5)
    settings = tiny(start_bn=0.25, student_bn="share")
    start = starting_network(settings.method, source, images())
    whole = copy.deepcopy(source)
    pixels = torch.from_numpy(np.stack([images().image(i) for i in range(4)]))
    adapt_batch_norm(whole, [pixels.permute(0, 3, 1, 2) / 255])
    for own, kept, target in zip(*map(batch_norms, (start, source, whole)), strict=True):
        assert isinstance(own, MixedBatchNorm) and own.share == 0.25
        assert torch.equal(own.fixed_mean, kept.running_mean)
        assert torch.equal(own.fixed_variance, kept.running_var)
        for name in ("running_mean", "running_var"):
            before, after = kept.get_buffer(name), target.get_buffer(name)
            assert not torch.allclose(before, after)
            torch.testing.assert_close(own.get_buffer(name), 0.75 * before + 0.25 * after)


@pytest.mark.parametrize("named", ["student_bn=frozen", "teacher_bn=keep", "labeller_bn=batch"])
def test_a_given_setting_without_effect_is_refused_and_a_preset_may_bring_it(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value = named.split("=")
    settings = tiny(**{name: value})

    def plain(_: Settings) -> Any:
        return without_norm()

    monkeypatch.setattr(inputs, "new_network", plain)
    with pytest.raises(StvmError, match=f"^{named}: the network has no batch norm") as caught:
        inputs.check_inputs([settings], given=(name,))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(inputs, "_check_new", lambda *_: None)
    inputs.refuse_without_batch_norm(settings.method, without_norm())
    inputs.refuse_without_batch_norm(tiny().method, without_norm(), (name,))
    idle = tiny(st=False, aug=False, mt=False, mgs=False, mocm=False, **{name: value})
    inputs.refuse_without_batch_norm(idle.method, without_norm(), (name,))


def test_the_pass_over_all_images_is_told() -> None:
    heard: list[Any] = []

    class Hears:
        def __call__(self, *_: Any) -> None: ...

        def tell_pass(self, *told: Any) -> None:
            heard.append(told)

    source, many = (
        build_network("small_deeplab", 8, 5),
        ArrayImages(np.zeros((16, 32, 32, 3), "u1")),
    )
    starting_network(tiny(start_bn=0.5).method, source, many, Hears())
    assert heard == [("start_bn=0.5", 8, 16), ("start_bn=0.5", 16, 16)]
    # The last images fill no batch: the end of the pass is told all the same.
    nine = ArrayImages(np.zeros((9, 32, 32, 3), "u1"))
    starting_network(tiny(start_bn=0.5).method, source, nine, Hears())
    assert heard[2:] == [("start_bn=0.5", 8, 9), ("start_bn=0.5", 9, 9)]
    heard.clear()
    starting_network(tiny(start_bn=0.5).method, source, many, lambda *_: None)
    starting_network(tiny().method, source, many, Hears())
    assert heard == []


@pytest.mark.parametrize("named", NEEDING)
def test_a_network_without_batch_norm_is_refused_where_statistics_are_asked_for(
    named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tiny(**NEEDING[named])
    with pytest.raises(StvmError, match=f"^{named}: the network has no batch norm") as caught:
        starting_network(settings.method, without_norm(), images())
    assert "\n" not in str(caught.value)

    def plain(_: Settings) -> Any:
        return without_norm()

    monkeypatch.setattr(inputs, "new_network", plain)
    with pytest.raises(StvmError, match=f"^{named}: the network has no batch norm"):
        inputs.check_inputs([settings])
    inputs.check_inputs([tiny()])
