"""A network from a file of the user's own: what it may return, and what is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.trial.inputs import check_inputs
from tests.helpers.any_network import OWN, make_own
from tests.helpers.tiny_settings import tiny

HEAD = "import torch\nfrom torch import nn\n"
SHORT = HEAD + "def build(num_classes):\n    "
BROKEN = {
    "no such function": (OWN.replace("def build", "def make"), "no function 'build': it has make"),
    "no function at all": ("x = 1\n", "no function 'build': it has none"),
    "wrong shapes": (
        OWN.replace("nn.Conv2d(8, 8, 1)", "nn.Conv2d(9, 8, 1)"),
        r"classifier, given features \(2, 8, 16, 24\), fails on a batch of 2 with RuntimeError",
    ),
    "an exception inside": (
        SHORT + "return 1 / 0\n",
        r"my_network.py:build\(19\) fails with ZeroDivisionError: division by zero \(line 4\)",
    ),
    "an exception in a library": (
        SHORT + "nn.Conv2d(3, 4, 1, groups=2)\n    return None\n",
        r"fails with ValueError: in_channels must be divisible by groups \(line 4\)",
    ),
    "an exception in the pass": (
        OWN.replace("return torch.relu", "raise KeyError('x')\n        return torch.relu"),
        "features fails on a batch of 2 with KeyError",
    ),
    "other classes": (
        OWN.replace("8, num_classes, 1", "8, 21, 1"),
        "classifier gives 21 channels in place of 19, as many as classes",
    ),
    "a syntax error": ("def build(:\n", r"the file fails with SyntaxError: .* \(line 1\)"),
    "an exit": ("raise SystemExit(3)\n", "the file fails with SystemExit: 3"),
    "an import": ("import no_such_package\n", "ModuleNotFoundError: No module named"),
    "no argument": (HEAD + "def build():\n    pass\n", "fails with TypeError: build"),
    "nothing": (SHORT + "pass\n", "returns NoneType: return features and classifier"),
    "one module": (SHORT + "return nn.Identity()\n", "returns Identity: return features"),
    "no module": (SHORT + "return nn.Identity(), len\n", "classifier is a builtin_function"),
    "another name": (
        SHORT + "return {'features': nn.Identity(), 'classifier': nn.Identity(), 'std_': 1}\n",
        "returns 'std_': return features",
    ),
    "two numbers": (
        SHORT
        + "return {'features': nn.Identity(), 'classifier': nn.Conv2d(3, 19, 1), 'mean': (0, 1)}\n",
        "ValueError",
    ),
    "two maps": (
        SHORT + "return nn.ReflectionPad2d(1), nn.Flatten()\n",
        r"classifier.* gives \(2, 19404\) for 2 images",
    ),
    "a tuple of maps": (
        OWN.replace("self.norm(self.stem(images)))", "self.stem(images)), images"),
        "features give tuple in place of one tensor",
    ),
    "no convolution": (
        SHORT + "return nn.Conv2d(3, 19, 1), nn.Identity()\n",
        "Identity has no nn.Conv2d to take as its last layer: give head=",
    ),
    "not finite": (
        OWN.replace(
            "return Features(), classifier",
            "f = Features()\n    f.stem.weight.data.fill_(float('nan'))\n    return f, classifier",
        ),
        "features gives values that are not finite numbers",
    ),
    "a head of another size": (
        SHORT
        + "return nn.Identity(), nn.Conv2d(3, num_classes, 1), lambda n: nn.Conv2d(3, 5, 1)\n",
        "head gives .2, 5, 64, 96. for 7 outputs",
    ),
    "a head of a smaller map": (
        SHORT
        + "return nn.Identity(), nn.Conv2d(3, num_classes, 1), lambda n: nn.Conv2d(3, n, 1, 2)\n",
        "head gives .2, 7, 32, 48. for 7 outputs, and the classifier gives .2, 19, 64, 96.",
    ),
    "one weight twice": (
        SHORT
        + "first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)\n    "
        + "second.weight = first.weight\n    "
        + "return nn.Sequential(first, second), nn.Conv2d(3, num_classes, 1)\n",
        "two layers share a weight, which a file cannot keep: copy it",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_one_line_before_anything_is_trained(fault: str, tmp_path: Path) -> None:
    text, message = BROKEN[fault]
    network = make_own(tmp_path, text)
    with pytest.raises(StvmError, match=message) as said:
        check_inputs([tiny(network=network)])
    assert "\n" not in str(said.value) and str(tmp_path) in str(said.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small_deeplab.py", "'small_deeplab' is the name of a network here"),
        ("torch.py", "'torch' is the name of an installed module"),
        ("json.py", "'json' is the name of an installed module"),
    ],
)
def test_a_name_that_exists_already_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StvmError, match=message):
        check_inputs([tiny(network=make_own(tmp_path, name=name))])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StvmError, match="no file .*gone.py: name an existing FILE.py:FUNCTION"):
        check_inputs([tiny(network=f"{tmp_path / 'gone.py'}:build")])
    with pytest.raises(StvmError, match="unknown network 'net.py'"):
        Settings().replace(network="net.py")


def test_batch_norm_that_needs_two_images_is_found_by_a_pass(tmp_path: Path) -> None:
    pooled = "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))"
    network = make_own(tmp_path, OWN.replace("nn.Conv2d(8, 8, 1)", pooled))
    check_inputs([tiny(network=network)])
    with pytest.raises(StvmError, match="cannot take 1 crops of 32x32 .*try another batch"):
        check_inputs([tiny(network=network, batch=1)])


def test_the_function_may_give_normalisation_and_a_head_of_its_own(tmp_path: Path) -> None:
    text = SHORT + (
        "return {'features': nn.Identity(), 'classifier': nn.Conv2d(3, num_classes, 1),\n"
        "        'head': lambda n: nn.Conv2d(3, n, 3, padding=1), 'mean': (0.5, 0.5, 0.5),\n"
        "        'std': (0.5, 0.25, 2.0), 'bgr': True}\n"
    )
    before = torch.get_rng_state()
    network = build_network(make_own(tmp_path, text), 0, 4)
    pixels = network.extract(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert pixels == [0.25, 2.0, 1.0]
    assert network.new_head(9).kernel_size == (3, 3)
    assert network.architecture.content and not torch.equal(before, torch.get_rng_state())


def test_the_check_leaves_weights_statistics_and_random_numbers_alone(tmp_path: Path) -> None:
    network = make_own(tmp_path, OWN.replace("GroupNorm(2, 8)", "BatchNorm2d(8)"))
    torch.manual_seed(3)
    first = build_network(network, 0, 5)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    second = build_network(network, 0, 5)
    assert torch.equal(drawn, torch.rand(3)) and first.training
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert first.features.module.norm.running_mean.eq(0).all()
    torch.manual_seed(3)
    given: dict[str, Any] = {}
    exec((tmp_path / "my_network.py").read_text(), given)
    given["build"](5)
    assert torch.equal(drawn, torch.rand(3))
