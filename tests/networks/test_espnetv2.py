"""ESPNetv2: keys and counts of the public files, and its numbers against a slow twin."""

import hashlib
import math

import pytest
import torch
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.networks import Architecture, SegmentationNetwork, assemble, count_parameters
from stvm.networks.eesp import dilations
from stvm.networks.known_networks import WIDTHS
from stvm.networks.pyramid_pooling import pooled
from stvm.pretrained.families import LAYOUTS
from stvm.pretrained.fitting import public_names
from stvm.settings import Settings, network_settings
from tests.helpers.espnetv2_files import Twin, espnetv2_state
from tests.helpers.public_checkpoints import rgb_input


def network_of(
    width: float = 0.5, classes: int = 19, idle: int = 1, projection: int = 10
) -> SegmentationNetwork:
    described = Architecture(
        *("espnetv2", 32, classes), width=width, projection=projection, idle_outputs=idle
    )
    return assemble(described)


def loaded(network: SegmentationNetwork, state: dict[str, torch.Tensor]) -> SegmentationNetwork:
    names = public_names(network, LAYOUTS["espnetv2"])
    network.load_state_dict({own: state[name] for name, own in names.items()})
    return network.double().eval()


# SHA-256 of the sorted names and shapes in the public files, and the number of trained values.
FILES = {
    (0.5, 20): ("0d3b5246519df39e", 80342),
    (1.0, 20): ("df64b7d12a6b3543", 234010),
    (2.0, 20): ("dfd9762392e2636a", 789242),
    (1.0, 21): ("a42a02a4a9131953", 234021),
    (2.0, 21): ("d1a1811ff0696286", 789253),
}


@pytest.mark.parametrize(("width", "outputs"), FILES)
def test_keys_shapes_and_counts_are_those_of_the_public_files(width: float, outputs: int) -> None:
    digest, count = FILES[width, outputs]
    with torch.device("meta"):
        network = network_of(width, outputs - (outputs == 20), int(outputs == 20))
    own, names = network.state_dict(), public_names(network, LAYOUTS["espnetv2"])
    assert sorted(names.values()) == sorted(own) and len(names) == 526
    listed = sorted(f"{name} {tuple(own[key].shape)}" for name, key in names.items())
    made = espnetv2_state(width, outputs)
    assert listed == sorted(f"{name} {tuple(value.shape)}" for name, value in made.items())
    assert hashlib.sha256("\n".join(listed).encode()).hexdigest().startswith(digest)
    assert count_parameters(network) == count


def test_dilations_grow_up_to_the_largest_field() -> None:
    assert [dilations(field) for field in (13, 9, 7, 5)] == [
        *([1, 2, 3, 4], [1, 2, 3, 4], [1, 1, 2, 3], [1, 1, 1, 2])
    ]


@pytest.mark.parametrize("size", [(64, 96), (35, 50), (16, 16)])
def test_features_and_logits_are_those_of_the_slow_twin(size: tuple[int, int]) -> None:
    state = espnetv2_state(0.5, 20, seed=3)
    network = loaded(network_of(), state)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)).double()
    twin = Twin(state)
    with torch.no_grad():
        features, logits = network.extract(images), network.logits(images)
    torch.testing.assert_close(features, twin.features(rgb_input(images)), rtol=1e-5, atol=1e-6)
    expected = twin.logits(rgb_input(images))[:, :19]
    assert logits.shape == (2, 19, -(-size[0] // 2), -(-size[1] // 2))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert network(images).shape == (2, 19, *size)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_gives_a_map_of_half_the_size(width: float) -> None:
    with torch.device("meta"):
        network = network_of(width, 5, 0, projection=3)
        assert network.extract(torch.zeros(2, 3, 70, 33)).shape == (2, 32, 35, 17)
        assert network.logits(torch.zeros(2, 3, 70, 33)).shape == (2, 5, 35, 17)


def test_a_head_is_the_classifier_with_other_outputs() -> None:
    network = network_of(projection=4)
    head = network.new_head(7)
    own, theirs = network.classifier.state_dict(), head.state_dict()
    assert own.keys() == theirs.keys()
    differ = {name for name in own if own[name].shape != theirs[name].shape}
    assert differ == {"merge_layer.3.weight", "merge_layer.3.bias"}
    assert head(torch.zeros(2, 32, 9, 11)).shape == (2, 7, 9, 11)


def test_idle_weights_get_no_gradient() -> None:
    network = network_of().train()
    network(torch.rand(2, 3, 48, 48)).square().mean().backward()
    last = network.classifier.get_parameter("merge_layer.3.weight").grad
    assert last is not None and not last[19].any() and bool(last[:19].abs().sum((1, 2, 3)).all())
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == {f"features.base_net.level{n}_0.eesp.module_act.weight" for n in (2, 3, 4)}


def test_a_description_reads_back_and_older_files_lack_its_values() -> None:
    described = Architecture("espnetv2", 32, 19, width=1.25, projection=8, idle_outputs=1)
    assert Architecture.from_facts(described.facts()) == described
    older = Architecture("deeplabv2_resnet101", 7, 3).facts()
    assert not {"width", "projection", "idle_outputs"} & older.keys()
    assert Architecture.from_facts(older).idle_outputs == 0


def test_widths_of_the_settings_are_those_of_the_network() -> None:
    assert tuple(WIDTHS) == tuple(network_settings.WIDTHS) == (0.5, 1.0, 1.25, 1.5, 2.0)
    settings = Settings().replace(network="espnetv2", network_width=2)
    assert settings.network.network_width == 2.0
    assert settings.hash() != Settings().replace(network="espnetv2").hash()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network_width": 2}, "network_width=2 is for espnetv2: set network_width=1 with small"),
        ({"network": "espnetv2", "network_width": 1.1}, "widths 0.5, 1, 1.25, 1.5, 2$"),
        ({"network": "espnetv2", "network_width": 3}, "network_width.* less than or equal to 2"),
        ({"network": "espnetv2", "auxiliary": True}, "espnetv2 has no layer 3 to classify"),
        ({"network": "espnetv2", "aspp_branches": "two"}, "is for deeplabv2_resnet101"),
    ],
)
def test_settings_of_other_networks_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StvmError, match=message):
        Settings().replace(**changes)


def test_random_weights_have_the_deviation_for_the_outputs_and_biases_are_zero() -> None:
    torch.manual_seed(0)
    network = network_of(2.0, 19, 0, projection=16)
    classifier = network.classifier
    # He et al. 2015, equation 14: 2 / (outputs * kernel area).
    first = network.features.get_parameter("base_net.level1.conv.weight")
    for weight in (first, classifier.get_parameter("merge_layer.2.cbr.0.weight")):
        expected = math.sqrt(2 / (weight.shape[0] * weight[0, 0].numel()))
        assert weight.std().item() == pytest.approx(expected, rel=0.08)
    assert not classifier.get_parameter("merge_layer.3.bias").any()


@pytest.mark.parametrize("size", [(5, 5), (7, 12), (13, 17), (26, 6)])
def test_pooling_that_repeats_equals_torchs(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 13, 17, dtype=torch.double, requires_grad=True)
    weights = torch.randn(2, 3, *size, dtype=torch.double)
    expected = F.adaptive_avg_pool2d(maps, size)
    torch.use_deterministic_algorithms(True)
    try:
        found = pooled(maps, size)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad((y * weights).sum(), maps)[0] for y in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1])
