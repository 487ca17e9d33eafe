"""The library: names, defaults, what an import loads, and the examples of its page."""

import copy
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import stvm
from stvm.settings.presets import PRESETS
from tests.helpers.small_torchvision import images, mobile

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

WANTED = {
    *("MetricLearner", "proxy_nca_loss", "ClassThresholds", "PatchBank", "MeanTeacher"),
    *("reliability", "weighted_cross_entropy", "adapt_batch_norm", "silhouette_score"),
    *("wrap_network", "AdaptationStep", "confusion_matrix", "miou", "__version__"),
}

PAPER: dict[str, dict[str, Any]] = {
    "MetricLearner": {
        **{"num_classes": 19, "embedding_size": 128, "temperature": 0.25, "q_m": 0.2, "lr": 3e-4},
    },
    "ClassThresholds": {"q_m": 0.2},
    "proxy_nca_loss": {"temperature": 0.25},
    "reliability": {"alpha": 2.0, "beta": 0.6},
    "PatchBank": {"max_distance": 0.8, "classes_per_image": 10, "buffer_size": 50},
    "MeanTeacher": {"momentum": 1e-3, "period": 100},
}
"""Section IV-B."""

SETTINGS = {
    "MetricLearner": {
        **{"embedding_size": "n_f", "temperature": "temperature", "q_m": "q_m", "lr": "metric_lr"},
        **{"threshold_momentum": "threshold_momentum", "pixels_per_class": "pixels_per_class"},
        **{"balance": "metric_balance", "floor": "metric_floor"},
    },
    "ClassThresholds": {"q_m": "q_m", "momentum": "threshold_momentum"},
    "PatchBank": {
        **{"buffer_size": "buffer_size", "max_distance": "tau_mocm", "unit": "patch_unit"},
        **{"classes_per_image": "n_mocm", "order": "patch_order", "max_cover": "patch_max_cover"},
    },
    "MeanTeacher": {"momentum": "ema_momentum", "period": "ema_period", "bn": "teacher_bn"},
    "Labeller": {"bn": "labeller_bn"},
    "PhotometricAugmentation": {
        **{"strength": "aug_strength", "probability": "aug_probability"},
        **{"blur_probability": "blur_probability"},
    },
    "reliability": {"alpha": "alpha", "beta": "beta"},
    "proxy_nca_loss": {"temperature": "temperature"},
    "weighted_cross_entropy": {"norm": "loss_norm"},
    "AdaptationStep": {"loss_norm": "loss_norm", "parts": "accumulate"},
}
"""Argument to the setting whose value in the preset of the paper it has."""


def defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(stvm, name)).parameters
    return {k: p.default for k, p in parameters.items() if p.default is not p.empty}


def test_the_public_names_are_listed_once_and_resolve() -> None:
    assert set(stvm.__all__) >= WANTED
    assert {*stvm._MODULES, "__version__"} == set(stvm.__all__) <= set(dir(stvm))
    source = (ROOT / "stvm" / "__init__.py").read_text(encoding="utf-8")
    for name in stvm._MODULES:
        value = getattr(stvm, name)
        assert value.__module__ == stvm._MODULES[name] and value.__doc__
        block = source.split("if TYPE_CHECKING:")[1].split("__version__")[0]
        assert re.search(rf"from {value.__module__} import .*\b{name}\b", block)
        assert f"`{name}`" in PAGE or name in ("MetricOutput", "StepReport", "StvmError")
    with pytest.raises(AttributeError, match="no attribute 'PatchBnak'"):
        stvm.PatchBnak  # noqa: B018


@pytest.mark.parametrize("name", PAPER)
def test_the_defaults_are_the_papers_values(name: str) -> None:
    assert defaults(name).items() >= PAPER[name].items()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_defaults_are_those_of_the_preset_of_the_paper(name: str) -> None:
    folders = {"source_root": "a", "target_root": "b", "classes": "a,b"}
    flat = PRESETS["paper"].settings(**folders).flat()
    assert {k: flat[s] for k, s in SETTINGS[name].items()}.items() <= defaults(name).items()


@pytest.mark.parametrize("name", ["MetricLearner", "PatchBank", "ClassThresholds", "MeanTeacher"])
def test_all_but_the_first_argument_are_given_by_name(name: str) -> None:
    first, *others = inspect.signature(getattr(stvm, name)).parameters.values()
    assert first.default is first.empty
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)


PROGRAM = """
import sys, time
began = time.perf_counter()
import torch
middle = time.perf_counter()
import stvm
stvm.PatchBank
ended = time.perf_counter()
loaded = {name.split('.')[0] for name in sys.modules}
print((ended - began) / (middle - began), *loaded & {'scipy', 'torchvision'})
"""
BANNED = {"pydantic", "cv2", "ray", "optuna", "stvm.settings", "pandas", "matplotlib"}


def answer(program: str) -> str:
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_part_is_imported_in_little_more_time_than_torch() -> None:
    ratios = []
    for _ in range(5):
        ratio, *others = answer(PROGRAM).split()
        assert not others
        ratios.append(float(ratio))
        if min(ratios) < 1.3:
            break
    assert min(ratios) < 1.3


@pytest.mark.slow
def test_no_public_name_loads_settings_opencv_ray_or_optuna() -> None:
    assert answer("import stvm, sys; print(*[m for m in sys.modules if 'torch' in m])") == ""
    program = "import stvm, sys; [getattr(stvm, n) for n in stvm.__all__]; "
    assert answer(program + f"print(*({BANNED!r} & set(sys.modules)))") == ""


@pytest.mark.slow
@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_examples_of_the_page_run(
    title: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = mobile()
    torch.save(model.state_dict(), "source.pt")
    given: dict[str, Any] = {"loader": images(), "teacher": model}
    if title.startswith("MOCM"):
        given["teacher"] = lambda x: 20 * F.interpolate(x, x.shape[2:])
        given["student"] = nn.Conv2d(3, 3, 1)
        given["optimizer"] = torch.optim.SGD(given["student"].parameters(), 0.1)
        before = copy.deepcopy(given["student"].weight)
    exec(compile(code, title, "exec"), given)
    if title.startswith("MOCM"):
        assert sum(given["bank"].banked) > 0 and given["bank"].pasted > 0
        assert not torch.equal(given["student"].weight, before)
    elif title.startswith("Reliability"):
        assert given["weights"].shape == (2, 64, 64) and given["weights"].min() > 0
        assert given["output"].loss > 0 and given["output"].pixels > 0
    else:
        adapted = torch.load("adapted.pt")
        assert adapted.keys() == model.state_dict().keys() and given["report"].loss > 0
        moved = [not torch.equal(adapted[k], v) for k, v in model.named_parameters()]
        assert sum(moved) > 0.9 * len(moved)


def test_the_page_has_three_short_examples() -> None:
    assert len(EXAMPLES) == 3
    assert all(len(code.splitlines()) <= 22 for _, code in EXAMPLES)


def test_a_step_banks_patches_of_clean_images_where_nothing_else_is_said() -> None:
    assert defaults("AdaptationStep")["bank_augmented"] is False
