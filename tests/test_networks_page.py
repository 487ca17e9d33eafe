"""docs/networks.md names every network, and its examples run."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.networks import build_network, known_names
from stvm.trial.inputs import check_inputs
from tests.helpers.tiny_settings import tiny

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
OWN, PACKED = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_network_has_a_place_in_the_table() -> None:
    cells = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(named[1:]) == sorted(known_names()) and named[0] == "network"


def test_the_file_of_the_page_is_a_network(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(OWN)
    name = f"{tmp_path / 'my_network.py'}:build"
    check_inputs([tiny(network=name)])
    assert build_network(name, 0, 5).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 5, 64, 64)


@pytest.mark.slow
def test_the_wrapped_lraspp_of_the_page_computes_what_torchvision_does() -> None:
    space: dict[str, Any] = {}
    exec(PACKED, space)
    network, model = space["network"].eval(), space["model"].eval()
    images = torch.rand(1, 3, 48, 70)
    with torch.no_grad():
        expected = model(network.normalised(images))["out"]
        torch.testing.assert_close(network(images), expected)
        assert network.new_head(6)(network.extract(images).expand(2, -1, -1, -1)).shape[1] == 6
