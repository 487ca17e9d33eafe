"""Memory of objectives beside STvM: offline passes, kept networks, kinds of rounds."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.batches import batch_size
from stvm.memory import estimate, memory_report
from stvm.memory.estimate import Phase
from stvm.memory.tensors import size_of, values_of
from stvm.method.adabn import adapt_batch_norm
from stvm.networks import build_network
from stvm.objectives.label_store import LabelStore
from stvm.objectives.ld import NegativeLearning
from stvm.objectives.ldbe import MixedByMovingAverage
from stvm.objectives.objective import TargetBatch, TargetImages
from stvm.settings import PEERS, Settings
from stvm.settings.presets import find_preset
from stvm.settings.protocols import Size
from stvm.training.adaptation import build
from stvm.training.peer_builder import PeerAdaptation
from tests.helpers.named_folders import OFF
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
CLASSES, HEIGHT, WIDTH = 19, 64, 128
OFFLINE: dict[str, dict[str, Any]] = {
    name: {"shotim_prior": "source"} if name == "shotim" else {}
    for name, peer in PEERS.items()
    if peer.offline
}


def settings_of(procedure: str, **changes: Any) -> Settings:
    given = {"channels": 32, "source_checkpoint": "none"} | changes
    return tiny().replace(**given, procedure=procedure)


def found(settings: Settings) -> dict[str, estimate.Phase]:
    return {phase.name: phase for phase in estimate.phases(settings)}


class Pictures:
    """As many images as one pass takes."""

    def __len__(self) -> int:
        return batch_size(HEIGHT * WIDTH)

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def allocated(run: Callable[[], None]) -> int:
    """Most bytes that torch's allocator had given at a time, as its profiler tells."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        run()
    now = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("procedure", OFFLINE)
def test_an_offline_pass_takes_what_the_real_one_allocates(procedure: str, tmp_path: Path) -> None:
    """The real pass also holds single images and small arrays: a tenth either way."""
    settings = settings_of(procedure, **OFFLINE[procedure])
    torch.manual_seed(0)
    source = build_network("small_deeplab", 32, CLASSES).eval()
    adaptation = build(settings, source, CLASSES)
    assert isinstance(adaptation, PeerAdaptation)
    images = TargetImages(Pictures(), CPU)
    store = None
    if adaptation.objective.labels_offline:
        store = LabelStore(tmp_path / "labels", len(images), (HEIGHT, WIDTH), "me")
    peak = allocated(lambda: adaptation.objective.begin_round(1, images, store))
    phase = found(settings)["offline pass"]
    parts = phase.parts["largest pass over whole images"]
    assert parts > 2**20 and parts == pytest.approx(peak, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "networks"),
    [({"procedure": "adabn"}, 2), ({"start_bn": 0.5}, 2), ({"procedure": "tent"}, 0)],
)
def test_a_pass_for_batch_norm_takes_what_the_real_one_allocates(
    changes: dict[str, Any], networks: int
) -> None:
    """It takes eight images at a time, or all if there are fewer, however large they are."""
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    given = {"source_checkpoint": "none", "channels": 32, "height": 128, "width": 512}
    given |= off if changes.get("procedure") == "adabn" else {}
    settings = tiny().replace(**given, target_images=6).replace(**changes)
    phases = found(settings)
    network = build_network("small_deeplab", 32, CLASSES)
    images = [torch.rand(6, 3, 128, 512)]
    peak = allocated(lambda: adapt_batch_norm(network, images))
    parts = phases["pass for batch norm"].parts
    assert parts["largest pass over whole images"] == pytest.approx(peak + size_of(images), rel=0.1)
    weights = size_of(values_of(network))
    standing = parts["weights"] if networks else phases["adaptation"].parts["weights"]
    assert parts["weights"] == standing == (networks * weights or standing)
    assert ("gradients" in parts) == (not networks)


def test_a_pass_with_statistics_of_a_batch_takes_single_images() -> None:
    whole = [
        found(settings_of("cbst", labeller_bn=bn))["offline pass"].parts[
            "largest pass over whole images"
        ]
        for bn in ("eval", "batch")
    ]
    assert batch_size(HEIGHT * WIDTH) == 8 and whole[1] < whole[0] / 4


def table_of_the_page() -> dict[str, list[float]]:
    """Weights, activations and peak in GiB by procedure, as docs/objectives.md has them."""
    text = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1:-1] for line in text.splitlines() if re.match(r"\| .* \| \d", line)]
    return {
        name.strip(" `"): [float(re.findall(r"[\d.]+", cell)[0]) for cell in row]
        for name, *row in cells
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "procedure",
    [n if n == "hcl" else pytest.param(n, marks=pytest.mark.long) for n in ("STvM", *PEERS)],
)
def test_the_table_of_the_page_is_what_the_estimate_gives(procedure: str) -> None:
    own = {} if procedure == "STvM" else {"procedure": procedure}
    given = {"source_checkpoint": "none", "source_root": "a", "target_root": "b"}
    phases = found(find_preset("gta5-cityscapes-deeplabv2").settings(**given, **own))
    step = phases["adaptation"]
    activations = step.parts["activations kept for the backward pass"]
    told = [round(size / 2**30, 2) for size in (step.parts["weights"], activations, step.peak)]
    assert table_of_the_page()[procedure] == told
    largest = phases.get("offline pass", step)
    assert largest is step or round(largest.peak / 2**30, 2) <= 4.65 < step.peak / 2**30


@pytest.mark.slow
def test_gradients_and_states_are_there_in_the_passes_of_later_rounds_alone() -> None:
    later, first = found(settings_of("cbst")), found(settings_of("urma"))
    for name in ("gradients", "optimiser states"):
        assert later["offline pass"].parts[name] == later["adaptation"].parts[name] > 0
        assert name not in first["offline pass"].parts and first["adaptation"].parts[name] > 0
    assert "offline pass" not in found(settings_of("minent"))
    assert "offline pass" not in found(settings_of("shotim"))
    assert "pass for batch norm" not in found(settings_of("shotim"))


@pytest.mark.slow
def test_the_pass_of_shot_takes_no_less_than_the_class_shares_that_it_measures_first() -> None:
    shot = found(settings_of("shot", shot_prior="source"))["offline pass"].parts
    shares = found(settings_of("shotim", shotim_prior="source"))["offline pass"].parts
    whole = "largest pass over whole images"
    assert shot[whole] >= shares[whole] > 2**20


@pytest.mark.slow
def test_a_trial_without_adaptation_has_no_start_with_statistics_of_its_own() -> None:
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    given = {"source_checkpoint": "none", "start_bn": 0.5}
    assert list(found(tiny().replace(**off, **given))) == ["evaluation"]


@pytest.mark.parametrize(
    ("procedure", "networks"),
    [
        ("adabn", 2),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("adapt", 1), ("oracle", 2))),
    ],
)
def test_a_trial_that_changes_a_copy_holds_two_networks(procedure: str, networks: int) -> None:
    """The source model, and the copy that is trained or scored."""
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    phases = found(settings_of(procedure, **off))
    values = values_of(build_network("small_deeplab", 32, CLASSES))
    size = networks * sum(value.numel() * value.element_size() for value in values)
    assert phases.pop("evaluation").parts["weights"] == size
    assert [phase.parts["weights"] for phase in phases.values()] == [size] * (procedure != "adapt")
    assert ("oracle training" in phases) == (procedure == "oracle")


def test_trainings_with_labels_take_their_own_crops_and_the_oracle_both_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops: list[Size] = []
    on_labels = estimate._on_labels

    def training(name: str, settings: Settings, crop: Size, *rest: Sequence[Tensor]) -> Phase:
        crops.append(crop)
        return on_labels(name, settings, crop, *rest)

    monkeypatch.setattr(estimate, "_on_labels", training)
    monkeypatch.setattr(estimate, "_step_parts", lambda *given: {"weights": size_of(given[1])})
    monkeypatch.setattr(estimate, "_evaluation", lambda *given: Phase("evaluation", given[-1]))
    sizes = {"crop_height": 32, "crop_width": 48, "source_crop_height": 40, "source_crop_width": 64}
    phases = found(settings_of("oracle", source_checkpoint="", **OFF, **sizes))
    assert crops == [(40, 64), (32, 48)]
    network = size_of(values_of(build_network("small_deeplab", 32, CLASSES)))
    one, both = {"weights": network}, {"weights": 2 * network}
    expected = {"source training": one, "oracle training": both, "evaluation": both}
    assert {name: phase.parts for name, phase in phases.items()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"student_bn": "share"}])
def test_a_start_with_statistics_of_its_own_is_one_more_network(changes: dict[str, Any]) -> None:
    """An objective keeps it; STvM makes its copies of it and lets it go."""
    network = size_of(values_of(build_network("small_deeplab", 32, CLASSES)))

    def weights(procedure: str, start_bn: float, **changes: Any) -> int:
        settings = settings_of(procedure, start_bn=start_bn, **changes)
        return found(settings)["adaptation"].parts["weights"]

    more = weights("minent", 0.5, **changes) - weights("minent", 0)
    # With a share each batch norm of student and start has two more vectors.
    slack = 0.05 * network if changes else 0
    assert abs(more - network) <= slack
    if not changes:
        assert weights("adapt", 0.5) == weights("adapt", 0)


@pytest.mark.slow
def test_rounds_of_another_kind_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def light(self: NegativeLearning, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        yield self.given.predict(batch.images[:1, :, :16, :16]).mean()

    monkeypatch.setattr(NegativeLearning, "losses", light)
    settings = settings_of("ldbe", ldbe_rounds=2)
    both = found(settings)["adaptation"]
    kinds = []
    for number in (1, 2, 3):
        monkeypatch.setattr(MixedByMovingAverage, "first_rounds", lambda self, n=number: (n,))
        kinds.append(found(settings)["adaptation"].counted)
    assert kinds[0] == kinds[1] < kinds[2] == both.counted


def test_the_largest_trial_is_found_by_estimates_of_several_procedures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks = {"adapt": 5, "oracle": 2, "hcl": 7, "cotta": 9, "urma": 6, "ldbe": 8, "minent": 99}
    estimated = []

    def phases(settings: Settings) -> list[estimate.Phase]:
        estimated.append(settings.method.procedure)
        return [estimate.Phase("adaptation", {"weights": peaks[settings.method.procedure] << 30})]

    monkeypatch.setattr(memory_report, "phases", phases)
    stvm = tiny(mocm=False), tiny()
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    few, many = (settings_of("oracle", **off, source_batch=n, source_accumulate=2) for n in (4, 8))
    objectives = [settings_of(name) for name in peaks if name not in ("adapt", "oracle")]
    trials = [*stvm, few, many, *objectives]
    assert memory_report.largest(trials).method.procedure == "cotta"
    estimated.sort()
    assert estimated == ["adapt", "cotta", "hcl", "oracle", "urma"], "those with most networks"
    alone = settings_of("oracle", **off, source_batch=8, source_accumulate=4)
    assert memory_report.largest([alone, few, many, few]) is many, "by the batch with labels"
    plain, adabn = tiny(**off), settings_of("adabn", **off)
    peaks["oracle"], peaks["adabn"] = 6, 3
    assert memory_report.largest([plain, adabn]) is adabn, "a copy of the source model"
    assert memory_report.largest([plain, adabn, *stvm, few, many]) is many
    peaks["adapt"] = 20
    assert memory_report.largest(trials) is trials[1]
    wide = settings_of("minent", crop_height=64)
    assert memory_report.largest([*trials, wide]) is wide


def test_advice_for_an_offline_pass_names_the_images() -> None:
    for name in ("offline pass", "pass for batch norm"):
        told = memory_report.advice(settings_of("cbst"), estimate.Phase(name, {}))
        assert told.endswith("a smaller height and width") and "protocol" not in told
