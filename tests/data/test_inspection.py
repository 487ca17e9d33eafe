"""All that a trial will read is looked at before anything is trained, and once."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studies.__main__ import main
from stvm.data import inspection
from stvm.data.classes import parse_classes
from stvm.data.inspection import Files, check_contents
from stvm.errors import StvmError
from stvm.settings import Settings
from stvm.trial.inputs import check_inputs
from tests.data.test_label_encoding import as_train_ids
from tests.helpers.tiny_datasets import make_cityscapes, make_gta5
from tests.helpers.tiny_settings import tiny

OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
SOURCE, ORACLE = OFF, OFF | {"procedure": "oracle"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Source and target of three images a split."""
    rng = np.random.default_rng(0)
    for domain in ("sim", "real"):
        for split in ("train", "val", "test"):
            for part in ("images", "labels"):
                (tmp_path / domain / split / part).mkdir(parents=True)
            for name in "abc":
                pixels = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
                folder = tmp_path / domain / split
                Image.fromarray(pixels).save(folder / f"images/{name}.png")
                Image.fromarray(pixels[..., 0] % 3).save(folder / f"labels/{name}.png")
    return tmp_path


def trial(root: Path, **changes: Any) -> Settings:
    roots = {"source_root": str(root / "sim"), "target_root": str(root / "real")}
    sizes = {"height": 32, "width": 48, "crop_height": 32, "crop_width": 32}
    return tiny(dataset="folder", classes="road,walk,sky", **roots, **sizes, **changes)


def spoil(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:50])
    return path


def refusal(*trials: Settings, cache: Path | None = None) -> str:
    with pytest.raises(StvmError) as caught:
        check_inputs(trials, cache)
    return str(caught.value)


def test_a_colour_label_of_the_evaluated_split_is_met_before_training(root: Path) -> None:
    for path in (root / "real/test/labels").iterdir():
        with Image.open(path) as label:
            label.convert("RGBA").save(path)
    line = refusal(trial(root))
    assert line.startswith(f"{root}/real/test/labels/a.png: label mode is RGBA, not 8-bit")
    assert line.endswith("(and 2 more files)")
    assert check_inputs([trial(root, eval_split="val")]) == []


@pytest.mark.parametrize(
    ("file", "changes", "is_read"),
    [
        ("sim/train/images/c.png", {}, True),
        ("sim/train/labels/c.png", {}, True),
        ("sim/val/labels/b.png", {}, False),
        ("sim/val/labels/b.png", SOURCE, True),
        ("sim/val/images/b.png", SOURCE, True),
        ("real/train/images/c.png", {}, True),
        ("real/train/labels/c.png", {}, False),
        ("real/train/labels/c.png", SOURCE, False),
        ("real/train/labels/c.png", ORACLE, True),
        ("real/val/images/a.png", {}, False),
        ("real/test/images/a.png", ORACLE, True),
    ],
)
def test_what_a_trial_reads_is_looked_at_and_nothing_else(
    root: Path, file: str, changes: dict[str, Any], is_read: bool
) -> None:
    path = spoil(root / file)
    if is_read:
        line = refusal(trial(root, **changes))
        assert line.startswith(f"{path}: cannot be read as PNG") and "\n" not in line
    else:
        assert check_inputs([trial(root, **changes)]) == []


def test_labels_of_target_training_images_are_not_even_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    before = Image.open

    def spy(path: Any, *rest: Any, **options: Any) -> Any:
        opened.append(str(path))
        return before(path, *rest, **options)

    monkeypatch.setattr(Image, "open", spy)
    check_inputs([trial(root), trial(root, **SOURCE)])
    assert any("real/test/labels" in path for path in opened)
    assert not any("real/train/labels" in path for path in opened)


def seen_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the names of files that are read."""
    seen: list[str] = []
    check_file = inspection.check_file

    def spy(check: inspection.FileCheck) -> Any:
        seen.append(check.name)
        return check_file(check)

    monkeypatch.setattr(inspection, "check_file", spy)
    return seen


def test_a_second_start_reads_what_changed_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, cache = seen_by(monkeypatch), root / "cache"
    settings = trial(root)
    check_inputs([settings], cache)
    # Images of three splits and labels of two, three files each.
    assert len(seen) == len(set(seen)) == 15
    seen.clear()
    check_inputs([settings, trial(root, seed=1)], cache)
    assert seen == []
    changed = root / "real/train/images/b.png"
    os.utime(changed, ns=(1, 1))
    check_inputs([settings], cache)
    assert seen == [str(changed)]
    seen.clear()
    label = spoil(root / "sim/train/labels/c.png")
    for _ in range(2):
        assert refusal(settings, cache=cache).startswith(f"{label}: ")
    assert seen == [str(label)] * 2
    seen.clear()
    # Other classes are another question to the same labels.
    changes = {"classes": "road,walk,sky,car", "source_checkpoint": ""}
    assert refusal(settings.replace(**changes), cache=cache).startswith(f"{label}: ")
    assert [Path(name).parts[-4:-1] for name in seen] == [("sim", "train", "labels")] * 3


def test_a_memory_that_cannot_be_read_is_made_anew(root: Path) -> None:
    cache = root / "cache"
    check_inputs([trial(root)], cache)
    for path in (cache / "checked").iterdir():
        path.write_bytes(path.read_bytes()[:20])
    assert check_inputs([trial(root)], cache) == []


@pytest.mark.slow
def test_processes_find_the_same_and_progress_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inspection, "ALONE", 2)
    monkeypatch.setattr(inspection, "SAY_FIRST_S", 0.0)
    monkeypatch.setattr(inspection, "SAY_EVERY_S", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    folder = root / "sim/train"
    names = [f"{name}.png" for name in "abc"]
    images, labels = (tuple(folder / part / n for n in names) for part in ("images", "labels"))
    files = Files("source train", "labels", images, labels, parse_classes("road,walk,sky"))
    assert check_contents([files], root / "cache") == []
    out = capsys.readouterr().out
    assert "checking 3 labels of source train: 1 done, about " in out
    path = spoil(labels[1])
    monkeypatch.setattr(inspection, "ALONE", 0)
    with pytest.raises(StvmError, match=f"^{path}: cannot be read as PNG"):
        check_contents([files], root / "cache")


def test_turned_images_and_pictures_left_out_are_told(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    folder = root / "real/test/images"
    with Image.open(folder / "a.png") as image:
        image.save(folder / "a.png", exif=exif)
        image.save(folder / "d.webp")
    val = root / "sim/val"
    for domain in ("sim", "real"):
        (root / domain / "val").rename(root / domain / "Val")
    held_out, odd, turned = check_inputs([trial(root), trial(root, seed=1)])
    named = f"{root / 'sim/Val'} is there: rename it to val"
    assert held_out == f"warning: {val}: no such folder; {named}"
    assert odd.startswith(f"warning: {folder}: 1 picture is left out (d.webp), since")
    assert turned.startswith(f"{folder} (target test): 1 of 3 images are turned by their EXIF")


def published(root: Path) -> Settings:
    roots = {"source_root": str(root / "gta5"), "target_root": str(root / "cityscapes")}
    sizes = {"height": 48, "width": 96, "source_height": 40, "source_width": 72}
    return tiny(dataset="gta5_cityscapes", eval_split="val", **roots, **sizes)


def test_published_data_are_looked_at_by_prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_gta5(tmp_path / "gta5")
    make_cityscapes(tmp_path / "cityscapes")
    settings, cache, seen = published(tmp_path), tmp_path / "cache", seen_by(monkeypatch)
    as_train_ids((tmp_path / "gta5/labels").iterdir())
    line = refusal(settings)
    assert f"{tmp_path}/gta5/labels (source train): no label holds an id above 18" in line
    assert line.endswith("; if they are right, prepare them with --trust-labels")
    assert len(seen) == 8 + 8
    flat = settings.flat()
    names = ("dataset", "eval_split", "source_root", "target_root", "height", "width")
    names += ("source_height", "source_width", "crop_height", "crop_width")
    given = [f"{name}={flat[name]}" for name in names]
    command = ["prepare", "--cache", str(cache), "--workers", "1", "--trust-labels", *given]
    assert main(command) == 0
    seen.clear()
    assert check_inputs([settings], cache) == []
    # At another size nothing new would be found in the same files.
    assert check_inputs([settings.replace(height=32, width=64)], cache) == []
    assert seen == []


@pytest.mark.parametrize("text", ["[]", '{"x": 1}', "{"])
def test_a_damaged_memory_of_what_was_looked_at_costs_another_look(text: str, root: Path) -> None:
    cache = root / "cache"
    check_inputs([trial(root)], cache)
    kept = sorted((cache / "checked").iterdir())
    for path in kept:
        path.write_text(text)
    assert check_inputs([trial(root)], cache) == check_inputs([trial(root)], None)
    assert all(len(path.read_bytes()) > 20 for path in kept)
