"""A trial from settings to record: it repeats, fails in one line and never overwrites."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stvm.errors import StvmError
from stvm.pretrained import open_checkpoint
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.location import source_path
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")


def run(settings: Settings, root: Path, cache: Path, **options: Any) -> Record:
    return run_and_record(settings, Results(root), cache, CPU, **options)


def without_run(record: Record) -> dict[str, Any]:
    """The record as it stands in its file, without the circumstances of its run."""
    whole: dict[str, Any] = json.loads(json.dumps(record.as_dict()))
    return {name: value for name, value in whole.items() if name != "run"}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_record_and_another_seed_another(
    tmp_path: Path, cache: Path
) -> None:
    first = run(tiny(), tmp_path / "a", cache)
    second = run(tiny(), tmp_path / "b", cache)
    other = run(tiny(seed=1), tmp_path / "c", cache)
    assert first.status == "done"
    assert without_run(first) == without_run(second)
    assert first.result["curve"] != other.result["curve"]
    assert first.run["source_sha256"] == other.run["source_sha256"]


def test_a_source_model_trained_anew_is_the_same_to_the_bit(tmp_path: Path, cache: Path) -> None:
    first, second = (ensure_source(tiny(), c, CPU) for c in (cache, tmp_path))
    states = [load_file(p) for p in (first, second)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.slow
def test_a_record_says_what_a_table_and_a_reader_need(tmp_path: Path, cache: Path) -> None:
    settings = tiny(evaluated="teacher", lr=0.02, source_iterations=150, source_lr=0.02)
    record = run(settings, tmp_path, cache, label="STvM")
    on_disk = json.loads((tmp_path / "records" / f"{settings.hash()}.json").read_text())
    assert on_disk == json.loads(json.dumps(record.as_dict())) and on_disk["schema"] == 1
    result = record.result
    assert result["miou"] == result["teacher"]["miou"] != result["student"]["miou"]
    assert len(result["iou"]) == len(result["class_names"]) == 19
    assert (result["iteration"], result["split"], result["evaluated"]) == (6, "test", "teacher")
    assert set(result["auroc"]) == {"confidence", "reliability"}
    assert Settings().replace(**record.settings).hash() == record.hash
    sample = np.load(tmp_path / "samples" / f"{settings.hash()}.npz")
    assert sample["predictions"].shape == sample["reliability"].shape == (4, 64, 128)


def test_a_share_of_adabn_is_the_start_of_a_training_that_does_not_move(
    tmp_path: Path, cache: Path
) -> None:
    """Frozen batch norm and a rate of almost 0 leave the network of the row AdaBN."""
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    still = {"student_bn": "frozen", "lr": 1e-30, "evaluated": "student"}
    found = {
        share: run(tiny(procedure="adabn", adabn_share=share, **off), tmp_path, cache).result
        for share in (0.5, 1.0)
    }
    for share, row in found.items():
        kept = run(tiny(start_bn=share, **still), tmp_path, cache).result
        assert kept["iou"] == row["iou"] and kept["scores"]["entropy"] == row["scores"]["entropy"]
    assert found[0.5]["scores"]["entropy"] != found[1.0]["scores"]["entropy"]


@pytest.mark.parametrize("procedure", ["adapt", "adabn", "oracle"])
def test_yardsticks_are_recorded_without_a_seed(
    procedure: str, tmp_path: Path, cache: Path
) -> None:
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    record = run(tiny(procedure=procedure, seed=3, **off), tmp_path, cache)
    again = run(tiny(procedure=procedure, seed=4, **off), tmp_path, cache)
    assert record.as_dict() == again.as_dict()
    assert record.result["iteration"] == 0
    assert ("source_val_miou" in record.result) == (procedure == "adapt")


@pytest.mark.slow
def test_a_nan_loss_is_a_failed_record_with_iteration_and_seed(tmp_path: Path, cache: Path) -> None:
    settings = tiny(lr=1e30, seed=2, iterations=60)
    record = run(settings, tmp_path, cache)
    assert record.status == "failed" and record.as_dict()["result"] is None
    assert record.failure["seed"] == 2
    assert 1 <= record.failure["iteration"] <= 10
    assert "lower lr" in record.failure["error"]
    assert run(settings, tmp_path, cache).run == record.run
    again = run(settings, tmp_path, cache, retry_failed=True)
    assert again.failure == record.failure
    assert len(list((tmp_path / "retried").glob("*.json"))) == 1
    starts = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in starts] == ["start", "failed"] * 2


def test_weights_that_are_nan_after_the_last_update_are_a_failed_record(
    tmp_path: Path, cache: Path
) -> None:
    record = run(tiny(lr=1e30, iterations=1), tmp_path, cache)
    assert record.status == "failed"
    assert record.failure["iteration"] == 1 and "lower lr" in record.failure["error"]


def test_an_event_after_a_torn_line_is_kept(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.note("start", "a")
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"time": "2026-01')
    results.note("done", "a")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in (lines[0], lines[2])] == ["start", "done"]
    assert len(lines) == 3


def test_a_recorded_trial_is_not_run_again_and_not_overwritten(tmp_path: Path, cache: Path) -> None:
    record = run(tiny(), tmp_path, cache)
    path = Results(tmp_path).record_path(record.hash)
    before = path.read_bytes()
    assert without_run(run(tiny(), tmp_path, cache)) == without_run(record)
    with pytest.raises(StvmError, match="exists and is not overwritten"):
        Results(tmp_path).write(record)
    assert path.read_bytes() == before
    assert (tmp_path / "events.jsonl").read_text().count('"start"') == 1


@pytest.mark.parametrize("content", ["", '{"hash": "00', "[]", '{"hash": "other"}'])
def test_a_damaged_record_is_named_and_kept(content: str, tmp_path: Path, cache: Path) -> None:
    path = Results(tmp_path).record_path(tiny().hash())
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(StvmError, match=f"{path}.*move it away"):
        run(tiny(), tmp_path, cache)
    assert path.read_text() == content


@pytest.mark.slow
def test_a_full_disk_leaves_no_record_and_says_so(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(tiny(seed=5), tmp_path, cache)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StvmError, match="No space left on device; make room"):
            run(tiny(), tmp_path, cache)
    names = [p.name for p in (tmp_path / "records").iterdir()] if (tmp_path / "records") else []
    assert names == [f"{done.hash}.json"]
    assert run(tiny(), tmp_path, cache).status == "done"


@pytest.mark.slow
def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path: Path, cache: Path) -> None:
    def refused(path: Path, message: str, **changes: Any) -> None:
        settings = tiny(source_checkpoint=str(path), **changes)
        with pytest.raises(StvmError, match=message) as caught:
            run(settings, tmp_path / "results", cache)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        assert not Results(tmp_path / "results").record_path(settings.hash()).exists()

    good = source_path(tiny(), cache)
    ensure_source(tiny(), cache, CPU)
    refused(tmp_path / "none.pt", "no checkpoint")
    refused(good, r"49 of another shape \(classifier.branches.0.weight", channels=32)
    state = load_file(good)
    lacking = {k: v for k, v in state.items() if "branches.3" not in k} | {"extra": torch.ones(1)}
    torch.save(lacking, tmp_path / "lacking.pt")
    refused(tmp_path / "lacking.pt", "2 missing .*branches.3.bias.*1 unexpected .extra.")
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:5000])
    refused(tmp_path / "cut.pt", "cannot read checkpoint")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "not a state dict")
    torch.save({"state_dict": state}, tmp_path / "nested.pt")
    nested = run(tiny(source_checkpoint=str(tmp_path / "nested.pt")), tmp_path / "n", cache)
    plain = run(tiny(), tmp_path / "p", cache)
    assert nested.result == plain.result


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch evil-was-here",))


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(StvmError, match="holds an object of .*code in it was not run"):
        run(tiny(source_checkpoint="evil.pt"), tmp_path, cache)
    assert not (tmp_path / "evil-was-here").exists()


def make_folder(root: Path, split: str, count: int, labels: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for kind in ("images", "labels") if labels else ("images",):
        (root / split / kind).mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / "images" / f"{i}.png")
        if labels:
            ids = rng.choice(np.array([7, 8, 255], np.uint8), (32, 48))
            Image.fromarray(ids).save(root / split / "labels" / f"{i}.png")


def folder_settings(root: Path, **changes: Any) -> Settings:
    return tiny(
        dataset="folder",
        source_root=str(root / "source"),
        target_root=str(root / "target"),
        classes="7:road,8:sidewalk",
        height=32,
        width=48,
        **changes,
    )


def test_other_images_below_the_same_path_are_another_trial(tmp_path: Path) -> None:
    make_folder(tmp_path / "source", "train", 4, True, 0)
    make_folder(tmp_path / "target", "train", 4, False, 1)
    make_folder(tmp_path / "target", "test", 2, True, 2)
    settings, results = folder_settings(tmp_path), Results(tmp_path / "results")
    first = run(settings, tmp_path / "results", tmp_path / "cache")
    (tmp_path / "target" / "train" / "images" / "3.png").unlink()
    second = run(settings, tmp_path / "results", tmp_path / "cache")
    assert sorted(results.names()) == sorted({first.hash, second.hash})
    assert len(results.names()) == 2 and first.result["curve"] != second.result["curve"]
    assert first.run["images_content"] != second.run["images_content"]


def test_a_split_without_a_labelled_pixel_is_refused_before_training(tmp_path: Path) -> None:
    make_folder(tmp_path / "source", "train", 4, True, 0)
    make_folder(tmp_path / "target", "train", 4, False, 1)
    make_folder(tmp_path / "target", "test", 2, True, 2)
    for label in (tmp_path / "target" / "test" / "labels").iterdir():
        Image.fromarray(np.full((32, 48), 255, np.uint8)).save(label)
    with pytest.raises(StvmError, match="all pixels of the target's split 'test'"):
        run(folder_settings(tmp_path), tmp_path / "results", tmp_path / "cache")


def test_folders_of_ones_own_run_and_target_training_needs_no_labels(tmp_path: Path) -> None:
    make_folder(tmp_path / "source", "train", 4, True, 0)
    make_folder(tmp_path / "target", "train", 4, False, 1)
    make_folder(tmp_path / "target", "test", 2, True, 2)
    record = run(folder_settings(tmp_path), tmp_path / "results", tmp_path / "cache")
    assert record.result["class_names"] == ["road", "sidewalk"]
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    oracle = folder_settings(tmp_path, procedure="oracle", **off)
    with pytest.raises(StvmError, match="image has no label"):
        run(oracle, tmp_path / "results", tmp_path / "cache")


def test_a_trial_keeps_the_network_it_reports_and_says_where_it_began(
    tmp_path: Path, cache: Path
) -> None:
    settings = tiny(keep_model=True, evaluated="student")
    record = run(settings, tmp_path, cache)
    assert record.hash == tiny(evaluated="student").hash()
    path = tmp_path / "models" / f"{record.hash}.safetensors"
    metric = f"{record.hash}.metric.safetensors"
    assert sorted(p.name for p in path.parent.iterdir()) == [metric, path.name]
    kept = open_checkpoint(path)
    assert kept.class_names == tuple(record.result["class_names"])
    sample = np.load(tmp_path / "samples" / f"{record.hash}.npz")
    images = torch.from_numpy(sample["images"]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert np.array_equal(kept.build()(images).argmax(1).numpy(), sample["predictions"])
    source = record.run["source"]
    assert source.pop("sha256") == record.run["source_sha256"]
    assert source == {
        **{"family": "stvm", "network": "small_deeplab", "classes": 19},
        **{"auxiliary": False, "normalisation": "rgb_imagenet"},
    }


@pytest.mark.slow
def test_a_source_model_that_an_earlier_version_cached_is_not_trained_again(
    tmp_path: Path, cache: Path
) -> None:
    path = ensure_source(tiny(), cache, CPU)
    older = tmp_path / "sources" / f"{path.stem}.pt"
    older.parent.mkdir()
    torch.save(load_file(path), older)
    assert ensure_source(tiny(), tmp_path, CPU) == older
    assert [p.name for p in older.parent.iterdir()] == [older.name]
    first = run(tiny(), tmp_path / "a", cache)
    assert first.result == run(tiny(), tmp_path / "b", tmp_path).result
