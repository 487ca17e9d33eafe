"""Trials of objectives with offline labels that are interrupted, in a round or in a pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.data.crops import TargetCrops
from stvm.data.datasets import open_target_images
from stvm.data.streets.street_images import ArrayImages
from stvm.errors import StvmError
from stvm.method.mean_teacher import Labeller
from stvm.objectives import label_store, offline_pass
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from stvm.records.results import Results
from stvm.settings import PEERS, Settings
from stvm.settings.rounds import rounds_in
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training.adaptation import adapt
from stvm.training.offline_passes import LabelPlace, OfflinePasses, plan_rounds
from stvm.training.peer_builder import objective_class, own_values
from stvm.training.resume import TrainingCheckpoint
from stvm.trial.run_and_record import run_and_record
from stvm.tune.confirmations import refuse_missing_files
from tests.helpers.tiny_settings import tiny
from tests.objectives.test_offline_steps import built
from tests.training.test_resume import CPU, Stop, final_state, stop_at

EACH_ROUND = ("cbst", "crst", "iast", "ld", "ldbe", "dtst", "shot")
ALL = (*EACH_ROUND, "urma", "hcl")
IMAGES = tiny().data.target_images


@pytest.fixture
def in_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images are labelled together: a killed pass has then something to go on from."""
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 2)


def trial(procedure: str, **changes: Any) -> Settings:
    own: dict[str, Any] = {"iterations": 9, "lr": 1e-3} | changes
    if procedure == "dtst":
        own |= {"dtst_first": 2, "dtst_step": 1, "dtst_pixels": 5}
    if procedure in ("cbst", "crst", "iast", "dtst", "shot"):
        own |= {f"{procedure}_rounds": 3}
    if procedure == "hcl":
        own |= {"hcl_period": 4}
    return tiny(source_iterations=150).replace(procedure=procedure, **own)


class Killed(BaseException):
    pass


def killing_at(image: int) -> Callable[[LabelStore, int, Tensor], None]:
    """`LabelStore.write` that is killed after an image, counted over all passes."""
    write, seen = LabelStore.write, []

    def killing(self: LabelStore, index: int, labels: Tensor) -> None:
        write(self, index, labels)
        seen.append(index)
        if len(seen) == image:
            raise Killed

    return killing


def killed_in_a_pass(
    settings: Settings, results: Results, cache: Path, image: int, patch: pytest.MonkeyPatch
) -> None:
    """Runs a trial until a pass has labelled an image, counted over all passes."""
    with patch.context() as inner:
        inner.setattr(LabelStore, "write", killing_at(image))
        inner.setattr(offline_pass, "SAVE_S", 0.0)
        with pytest.raises(Killed):
            run_and_record(settings, results, cache, CPU, every_s=0)


def labels_written(results: Results) -> list[Path]:
    return list(results.state_path("x").parent.rglob("labels.u8"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("in_twos")
@pytest.mark.parametrize("procedure", ALL)
def test_a_trial_interrupted_at_any_place_ends_with_the_same_record(
    procedure: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = trial(procedure)
    whole = run_and_record(settings, Results(tmp_path / "whole"), cache, CPU)
    assert whole.result is not None and whole.result["miou"] > 0
    broken = Results(tmp_path / "broken")
    killed_in_a_pass(settings, broken, cache, IMAGES // 2, monkeypatch)
    assert labels_written(broken)
    if procedure in EACH_ROUND:
        # In the pass before round 2: the state at the end of round 1 is resumed.
        killed_in_a_pass(settings, broken, cache, IMAGES - IMAGES // 2 + 3, monkeypatch)
    with pytest.raises(Stop):
        run_and_record(settings, broken, cache, CPU, progress=stop_at(5), every_s=0)
    record = run_and_record(settings, broken, cache, CPU)
    assert record.run["resumed_from"] == 5
    assert "state_set_aside" not in record.run
    assert record.result == whole.result
    assert not labels_written(broken) and not labels_written(Results(tmp_path / "whole"))


@pytest.mark.usefixtures("in_twos")
@pytest.mark.parametrize("procedure", ["cbst", "ld", "dtst"])
def test_a_kill_in_the_second_pass_goes_on_from_the_end_of_the_first_round(
    procedure: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 1)
    settings = trial(procedure)
    broken = Results(tmp_path / "broken")
    killed_in_a_pass(settings, broken, cache, IMAGES + 3, monkeypatch)
    written: list[int] = []
    write = LabelStore.write

    def counting(self: LabelStore, index: int, labels: Tensor) -> None:
        written.append(index)
        write(self, index, labels)

    monkeypatch.setattr(LabelStore, "write", counting)
    record = run_and_record(settings, broken, cache, CPU)
    first = 4 if procedure == "ld" else 3
    assert record.run["resumed_from"] == first and "state_set_aside" not in record.run
    # The images with which the pass was killed were not saved; those before them were.
    assert written[: IMAGES - 2] == list(range(2, IMAGES))


def test_lost_labels_begin_the_trial_again(cache: Path, tmp_path: Path) -> None:
    settings = trial("urma", iterations=4)
    whole = run_and_record(settings, Results(tmp_path / "whole"), cache, CPU)
    broken = Results(tmp_path / "broken")
    with pytest.raises(Stop):
        run_and_record(settings, broken, cache, CPU, progress=stop_at(2), every_s=0)
    for path in labels_written(broken):
        path.write_bytes(path.read_bytes()[:-1])
    record = run_and_record(settings, broken, cache, CPU)
    assert "state_set_aside" in record.run and record.result == whole.result


@pytest.mark.usefixtures("in_twos")
def test_lost_labels_of_the_round_before_begin_the_trial_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DT-ST compares the labels of a pass with those of the round before."""
    settings = trial("dtst", iterations=4, dtst_rounds=2)
    whole = run_and_record(settings, Results(tmp_path / "whole"), cache, CPU)
    broken = Results(tmp_path / "broken")
    killed_in_a_pass(settings, broken, cache, IMAGES + 3, monkeypatch)
    for path in labels_written(broken):
        if path.parent.name == "round-1":
            path.unlink()
    record = run_and_record(settings, broken, cache, CPU)
    assert "state_set_aside" in record.run and record.result == whole.result


@pytest.mark.usefixtures("in_twos")
@pytest.mark.parametrize("iterations_done", [0, 2])
def test_labels_of_other_images_are_not_taken_up(
    iterations_done: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the first pass or behind it; then the images are others of the same size."""
    settings = trial("urma", iterations=4)
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    pixels = np.stack([images.image(i) for i in range(len(images))])

    def run(name: str, shown: str, progress: Any = None) -> Any:
        kept = TrainingCheckpoint(tmp_path / f"{name}.pt", {"hash": "x"}, every_s=0)
        kept.bind(images_sha256=shown)
        of_trial = ArrayImages(pixels if shown == "first" else np.flip(pixels, 1).copy())
        built, log = adapt(settings, source, of_trial, 19, progress, kept)
        return log.curve, log.watch

    if iterations_done:
        with pytest.raises(Stop):
            run("broken", "first", stop_at(iterations_done))
    else:
        with pytest.raises(Killed), monkeypatch.context() as inner:
            inner.setattr(offline_pass, "SAVE_S", 0.0)
            inner.setattr(LabelStore, "write", killing_at(IMAGES - 1))
            run("broken", "first")
    assert list(tmp_path.rglob("labels.u8"))
    assert run("broken", "other") == run("alone", "other")


def test_a_full_disk_is_told_before_anything_is_trained(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_store, "SPARE", 10**18)
    with pytest.raises(StvmError, match=r"labels of \d+ images .* make room") as told:
        run_and_record(trial("cbst"), Results(tmp_path), cache, CPU)
    assert "\n" not in str(told.value)


def test_loading_processes_change_nothing(cache: Path) -> None:
    two = [final_state(trial("cbst", workers=n), cache, None) for n in (0, 1)]
    for mine, other in zip(
        two[0]["adaptation"]["student"].values(),
        two[1]["adaptation"]["student"].values(),
        strict=True,
    ):
        assert torch.equal(mine, other)


class Noise:
    """Two images for the passes of a small network."""

    def __len__(self) -> int:
        return 2

    def image(self, index: int) -> Any:
        return np.random.default_rng(index).integers(0, 256, (32, 48, 3), np.uint8)


def test_labels_belong_to_the_student_that_made_them_and_go_with_their_round(
    tmp_path: Path,
) -> None:
    found = []
    for moved in (0.0, 0.0, 0.5):
        made = built("cbst", 60.0)
        for weight in made.student.features.parameters():
            weight.data += moved
        passes = OfflinePasses(made, Noise(), LabelPlace(tmp_path), 9)
        passes.begin(1)
        assert passes.store is not None
        found.append(torch.stack([passes.store.read(k) for k in range(2)]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    passes.begin(2)
    assert [path.name for path in tmp_path.iterdir()] == ["round-2"]


def test_the_labels_of_the_round_before_stay_where_they_are_compared(tmp_path: Path) -> None:
    passes = OfflinePasses(built("dtst", 60.0), Noise(), LabelPlace(tmp_path), 21)
    for number in (1, 2, 3):
        passes.begin(number)
    assert {path.name for path in tmp_path.iterdir()} == {"round-2", "round-3"}


@pytest.mark.parametrize(("bn", "together"), [("eval", [2, 2]), ("batch", [1, 1, 1, 1])])
def test_statistics_of_a_batch_are_those_of_one_image(
    bn: str, together: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of an image may not depend on the images that are labelled beside it."""
    logits, seen = Labeller.logits, []

    def seeing(self: Labeller, images: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(Labeller, "logits", seeing)
    made = built("cbst", 60.0, labeller_bn=bn)
    OfflinePasses(made, Noise(), LabelPlace(tmp_path), 9).begin(1)
    assert seen == together


def test_a_pass_tells_its_images_and_its_end(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Hears:
        def __call__(self, *_: Any) -> None: ...

        def tell_pass(self, *told: Any) -> None:
            heard.append(told[1:])

    for procedure, told in (("cbst", [(0, 2), (1, 2), (0, 2), (1, 2), (2, 2)]), ("minent", [])):
        OfflinePasses(built(procedure), Noise(), LabelPlace(tmp_path), 9, Hears()).begin(1)
        assert heard == told
        heard.clear()


def test_there_are_as_many_rounds_as_iterations_at_most(tmp_path: Path) -> None:
    def rounds(iterations: int) -> int:
        settings = tiny().replace(procedure="cbst", cbst_rounds=4, iterations=iterations)
        return plan_rounds(settings, TargetCrops(Noise(), (32, 32), 0, 8), tmp_path).rounds

    assert rounds(4) == 4
    with pytest.raises(StvmError, match="iterations=3: procedure=cbst has 4 rounds"):
        rounds(3)
    # And before the source model is trained.
    short = [tiny().replace(procedure=name, iterations=2) for name in ("minent", "ldbe")]
    with pytest.raises(StvmError, match="has 3 rounds .* raise iterations, or lower ldbe_rounds"):
        refuse_missing_files(short)
    refuse_missing_files([tiny().replace(procedure=name, iterations=3) for name in ("adapt", "ld")])
    for name, peer in PEERS.items():
        asked = tiny().replace(procedure=name)
        assert rounds_in(asked.flat()) == objective_class(peer).rounds_of(own_values(asked))
