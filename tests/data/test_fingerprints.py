"""A trial and a source model are named by the content of exactly the files that they read."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import stvm.trial.run_and_record
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.settings.presets import PRESETS
from stvm.source_model.ensure import ensure_source
from stvm.source_model.location import source_path
from stvm.trial.recorded_name import named
from stvm.trial.run_and_record import run_and_record
from stvm.trial.source_figure import recorded_source_miou, source_row
from tests.helpers.named_folders import OFF, name, on
from tests.helpers.tiny_datasets import make_gta5
from tests.helpers.tiny_settings import SMALL_SCENARIO, tiny

CPU = torch.device("cpu")
ROWS: dict[str, dict[str, Any]] = {
    "Source": OFF,
    "AdaBN": OFF | {"procedure": "adabn"},
    "Oracle": OFF | {"procedure": "oracle"},
    "STvM": {},
}


def swap(folder: Path, *ids: int) -> None:
    """Exchange two values in all labels, in place, and leave sizes and times as they were."""
    for path in folder.iterdir():
        before, table = path.stat(), np.arange(256, dtype=np.uint8)
        table[list(ids)] = ids[::-1]
        Image.fromarray(table[np.array(Image.open(path))]).save(path, compress_level=0)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_labels_corrected_in_place_are_not_given_the_old_labels_source_model(here: Path) -> None:
    before = ensure_source(on(), here / "cache", CPU)
    swap(here / "sim" / "train" / "labels", 7, 8)
    after = ensure_source(on(), here / "cache", CPU)
    afresh = ensure_source(on(), here / "empty", CPU)
    old, new, right = (load_file(path) for path in (before, after, afresh))
    assert all(torch.equal(new[k], right[k]) for k in right)
    assert not all(torch.equal(old[k], right[k]) for k in right)


def test_folders_are_one_however_they_are_named_linked_or_spelt(here: Path) -> None:
    (here / "link").symlink_to("sim")
    shutil.copytree(here / "real", here / "moved")
    spelt = ["sim", "sim/", "./sim", "link", str(here / "sim"), "real/../sim"]
    assert len({name(on(s, t)) for s in spelt for t in ("real", "moved/")}) == 1
    assert len({source_path(on(s), here / "cache") for s in spelt}) == 1
    results = Results(here / "results")
    for source in ("sim", "./sim", "link"):
        run_and_record(on(source, **OFF), results, here / "cache", CPU)
    assert len(results.names()) == 1
    assert (here / "results" / "events.jsonl").read_text().count('"start"') == 1


READ_BY = {
    "sim/train/labels/0.png": {"Source", "AdaBN", "Oracle", "STvM"},
    "sim/val/images/0.png": {"Source"},
    "real/train/images/0.png": {"Source", "AdaBN", "Oracle", "STvM"},
    "real/train/labels/0.png": {"Oracle"},
    "real/test/labels/0.png": {"Source", "AdaBN", "Oracle", "STvM"},
    "real/val/labels/0.png": set(),
    "sim/train/labels/no-image.png": set(),
}


@pytest.mark.parametrize("file", READ_BY)
def test_a_file_names_the_rows_that_read_it(file: str, here: Path) -> None:
    before = {row: name(on(**changes)) for row, changes in ROWS.items()}
    made = source_path(on(), here / "cache")
    path = here / file
    if path.exists():
        Image.fromarray(np.array(Image.open(path))[::-1]).save(path)
    else:
        Image.new("L", (48, 32), 7).save(path)
    after = {row: name(on(**changes)) for row, changes in ROWS.items()}
    assert {row for row in ROWS if before[row] != after[row]} == READ_BY[file]
    changed = source_path(on(), here / "cache") != made
    assert changed == (file == "sim/train/labels/0.png")


def test_a_source_without_validation_images_names_trials_by_what_is_there(here: Path) -> None:
    shutil.rmtree(here / "sim" / "val")
    for row in ("Source", "STvM"):
        before = name(on(**ROWS[row]))
        swap(here / "sim" / "train" / "labels", 7, 8)
        assert name(on(**ROWS[row])) != before


def test_the_damaged_record_of_the_source_row_costs_no_trial_its_result(tmp_path: Path) -> None:
    results, contents = Results(tmp_path), Contents(tmp_path)
    path = results.record_path(source_row(tiny()).hash())
    path.parent.mkdir()
    path.write_text("{")
    assert recorded_source_miou(tiny(), results, contents) is None


def test_settings_that_say_what_files_hold_are_held_to_it(here: Path) -> None:
    contents = Contents(here / "cache")
    known = contents.identified(on())
    assert Settings().replace(**known.canonical().flat()).hash() == known.hash()
    swap(here / "real" / "test" / "labels", 7, 8)
    with pytest.raises(
        StvmError, match="real/test: its files differ from those that target_test_content"
    ):
        Contents(here / "cache").identified(known)
    with pytest.raises(
        StvmError, match="real/test: its files differ from those that target_test_content"
    ):
        run_and_record(known, Results(here / "results"), here / "cache", CPU)


def test_a_checkpoint_is_named_by_what_it_holds(here: Path) -> None:
    (here / "a.pth").write_bytes(b"weights")
    shutil.copy(here / "a.pth", here / "b.pth")
    (here / "c.pth").write_bytes(b"others")
    (here / "d.pth").symlink_to("a.pth")

    def of(path: str, **changes: Any) -> str:
        return name(tiny(source_checkpoint=path, **changes))

    spelt = ("a.pth", "./a.pth", str(here / "a.pth"), "b.pth", "d.pth", "sim/../a.pth")
    assert len({of(path) for path in spelt}) == 1
    assert of("c.pth") != of("a.pth") != name(tiny())
    # How a source model would be trained does not matter where none is.
    assert of("a.pth", source_iterations=9, source_seed=3) == of("a.pth")
    oracle = OFF | {"procedure": "oracle"}
    assert of("a.pth", source_iterations=9, **oracle) != of("a.pth", **oracle)


def test_rows_that_train_nothing_have_one_name_whatever_training_passes_do(here: Path) -> None:
    (here / "a.pth").write_bytes(b"weights")
    given = {"source_checkpoint": "a.pth"}
    passes = ({"precision": "bfloat16"}, {"channels_last": True}, {"compile": True})
    for row, changes in ROWS.items():
        settings = tiny(**given, **changes)
        same = {name(settings.replace(**p)) == name(settings) for p in passes}
        assert same == {row in ("Source", "AdaBN")}, row
        # Evaluation has TF32 too, and another choice of kernels.
        for change in ({"precision": "tf32"}, {"deterministic": True}, {"cudnn_benchmark": True}):
            assert name(settings.replace(**change)) != name(settings), (row, change)
    # Without a checkpoint the source model itself was trained in those passes.
    assert name(tiny(**OFF)) != name(tiny(**OFF, precision="bfloat16"))
    older = tiny(**given, **OFF, precision="bfloat16").canonical()
    Results(here / "results").write(Record(older.hash(), "done", older.flat(), {"miou": 0.5}))
    for precision in ("float32", "bfloat16"):
        assert name(tiny(**given, **OFF, precision=precision)) == older.hash()
    assert name(tiny(**given, **OFF, precision="tf32")) != older.hash()


def test_names_on_the_embedded_benchmark_are_what_they_were() -> None:
    found = {
        (settings.hash(), settings.source_hash())
        for settings in (
            Settings(),
            Settings().replace(**OFF),
            Settings().replace(**OFF, precision="bfloat16"),
            PRESETS["demo"].settings().on_realisation(100),
        )
    }
    assert found == {
        ("d509c50fa599", "926da023692d"),
        ("90f702aabb8e", "926da023692d"),
        ("c21b7e58a85c", "2b6972725de3"),
        ("9146aeb6be6d", "1cd8b7796ce7"),
    }


def test_a_source_model_is_not_named_by_the_size_of_the_target(tmp_path: Path) -> None:
    preset = PRESETS["gta5-cityscapes-deeplabv2"].settings()
    larger = preset.replace(height=768, width=1536)
    assert larger.source_hash() == preset.source_hash() and larger.hash() != preset.hash()
    assert preset.replace(source_height=736).source_hash() != preset.source_hash()
    # The same size, whether it is said of the source or of both.
    sized = Settings().replace(height=96, source_height=64)
    assert sized.source_hash() == Settings().source_hash() == "926da023692d"
    older = tmp_path / "sources" / "86e85377fb55.safetensors"
    older.parent.mkdir()
    older.write_bytes(b"of the version before, under the name that it gave")
    assert source_path(preset, tmp_path) == older
    assert source_path(larger, tmp_path) != older


def test_published_labels_changed_in_place_are_noticed_though_sizes_are_equal(
    tmp_path: Path,
) -> None:
    root = make_gta5(tmp_path / "gta5", train=3)
    swap(root / "labels", 255, 254)
    changes = dict(item.split("=", 1) for item in [*SMALL_SCENARIO, "protocol=image"])
    settings = PRESETS["gta5-cityscapes-deeplabv2"].settings(**changes, source_root=str(root))
    made = ensure_source(settings, tmp_path / "cache", CPU)
    shutil.move(root, tmp_path / "elsewhere")
    settings = settings.replace(source_root=str(tmp_path / "elsewhere"))
    assert ensure_source(settings, tmp_path / "cache", CPU) == made
    sizes = [p.stat().st_size for p in sorted((tmp_path / "elsewhere" / "labels").iterdir())]
    swap(tmp_path / "elsewhere" / "labels", 7, 8)
    now = [p.stat().st_size for p in sorted((tmp_path / "elsewhere" / "labels").iterdir())]
    assert now == sizes
    with pytest.raises(StvmError, match="trained from other source images than these"):
        ensure_source(settings, tmp_path / "cache", CPU)


def test_the_source_row_of_a_trial_is_the_one_that_a_study_lists(here: Path) -> None:
    contents = Contents(here / "cache")
    adapted = contents.identified(on()).canonical()
    listed = contents.identified(on(**OFF))
    assert contents.identified(source_row(adapted)).hash() == listed.hash()


@pytest.mark.slow
def test_a_checkpoint_that_changes_after_its_trial_was_named_gives_no_record(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure_source(tiny(), here / "cache", CPU)
    shutil.copy(made, here / "a.safetensors")
    settings = tiny(source_checkpoint="a.safetensors", **OFF)
    other = ensure_source(tiny(source_seed=1), here / "cache", CPU)

    def swapped(*given: Any) -> Settings:
        known = named(*given)
        shutil.copy(other, here / "a.safetensors")
        return known

    monkeypatch.setattr(stvm.trial.run_and_record, "named", swapped)
    results = Results(here / "results")
    with pytest.raises(StvmError, match="a.safetensors: changed after the trial was named"):
        run_and_record(settings, results, here / "cache", CPU)
    assert results.names() == []
