"""The registry of networks."""

import sys
from collections.abc import Callable

import pytest
import torch

from stvm.errors import StvmError
from stvm.method.mixed_statistics import batch_norms
from stvm.networks import Architecture, assemble, find_network, known_names
from stvm.networks.known_networks import NETWORKS
from stvm.networks.segformer import import_segformer
from stvm.networks.timm_networks import import_timm
from stvm.settings import Settings


@pytest.mark.parametrize(
    ("name", "near"),
    [("smal_deeplab", "small_deeplab"), ("deeplabv2_resnet50", "deeplabv3_resnet50")],
)
def test_an_unknown_network_is_told_in_one_line_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(StvmError, match=f"unknown network '{name}': did you mean '{near}'") as said:
        Settings().replace(network=name)
    assert "\n" not in str(said.value) and all(known in str(said.value) for known in known_names())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_names_a_function_that_is_there(name: str) -> None:
    assert find_network(name).name == name and callable(find_network(name).find_builder())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_says_whether_its_classifier_has_batch_norm(name: str) -> None:
    with torch.device("meta"):
        built = assemble(Architecture(name, 16, 5, normalisation=find_network(name).normalisation))
    assert bool(batch_norms(built.classifier)) == find_network(name).classifier_norm


def test_a_description_reads_back_and_values_of_later_versions_may_be_missing() -> None:
    described = Architecture("deeplabv2_resnet101", 7, 3, True, "two", False, "v1c", "bgr_imagenet")
    facts = described.facts()
    assert Architecture.from_facts(facts) == described
    assert set(facts) == {
        *("network", "channels", "num_classes", "auxiliary"),
        *("aspp_branches", "idle_branches", "backbone", "normalisation"),
    }
    with pytest.raises(KeyError, match="auxiliary"):
        Architecture.from_facts({k: v for k, v in facts.items() if k != "auxiliary"})
    with pytest.raises(ValueError, match="aspp_branches=five"):
        Architecture.from_facts(facts | {"aspp_branches": "five"})


def test_names_of_recorded_trials_stay() -> None:
    assert (Settings().hash(), Settings().source_hash()) == ("d509c50fa599", "926da023692d")
    assert Settings().replace(network="deeplabv3_resnet50").hash() == "20205df37f07"


@pytest.mark.parametrize(
    ("package", "load"), [("timm", import_timm), ("transformers", import_segformer)]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, load: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {package, *(name for name in sys.modules if name.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StvmError, match=rf"needs {package}: pip install -e '\.\[{package}\]'$"):
        load()
