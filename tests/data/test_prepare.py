"""`python -m studies prepare` and the arrays it writes: equal to the originals, kill or no kill."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import studies.commands.prepare
import stvm.data.published.cache_writer
import stvm.data.published.decode_pool
from studies.__main__ import main
from stvm.data.datasets import open_source, open_target_images, open_target_labelled
from stvm.data.images import OpenedImages
from stvm.data.published.array_cache import DecodedArray
from stvm.data.published.published_images import PublishedImages
from stvm.errors import StvmError
from stvm.settings import DataSettings, parse_assignments
from stvm.settings.presets import find_preset

ROOT = Path(__file__).resolve().parents[2]


def assignments(root: Path, dataset: str, *changes: str) -> list[str]:
    source, target = dataset.split("_")
    held_out = "eval_split=test" if target == "crosscity" else "eval_split=val"
    city = ["city=rome"] if target == "crosscity" else []
    sizes = "height=48 width=96 source_height=40 source_width=72 crop_height=32 crop_width=32"
    roots = [f"source_root={root / source}", f"target_root={root / target}"]
    return [f"dataset={dataset}", held_out, *city, *sizes.split(), *roots, *changes]


def but(given: list[str], change: str) -> list[str]:
    """Assignments of which one is another."""
    name = change.partition("=")[0]
    return [*(item for item in given if not item.startswith(f"{name}=")), change]


def data_of(given: list[str]) -> DataSettings:
    return find_preset("paper").settings(**parse_assignments(given)).data


def prepare(cache: Path, given: list[str], *options: str) -> int:
    return main(["prepare", "--cache", str(cache), "--workers", "1", *given, *options])


def is_cached(opened: OpenedImages) -> bool:
    assert isinstance(opened.images, PublishedImages)
    return opened.images.is_cached


def arrays(images: Any) -> list[np.ndarray]:
    found = [images.image(i) for i in range(len(images))]
    if hasattr(images, "label"):
        found += [images.label(i) for i in range(len(images))]
    return found


def read_all(data: DataSettings, split: Any, cache: Path) -> list[list[np.ndarray]]:
    opened = [
        open_source(data, "train", cache),
        open_target_images(data, cache),
        open_target_labelled(data, split, cache),
    ]
    return [arrays(images) for images in opened]


def assert_equal(one: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> None:
    for these, those in zip(one, other, strict=True):
        for left, right in zip(these, those, strict=True):
            assert left.dtype == right.dtype == np.uint8
            np.testing.assert_array_equal(left, right)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["gta5_cityscapes", "synthia_cityscapes"])
def test_what_is_prepared_equals_what_is_decoded(made: Path, tmp_path: Path, dataset: str) -> None:
    given = assignments(made, dataset)
    data, cache = data_of(given), tmp_path / "cache"
    decoded = read_all(data, "val", cache)
    assert prepare(cache, given) == 0
    for images in (
        open_source(data, "train", cache),
        open_target_images(data, cache),
        open_target_labelled(data, "val", cache),
    ):
        assert is_cached(images)
    assert_equal(read_all(data, "val", cache), decoded)
    # Labels at the size of another protocol come from the originals.
    large = open_target_labelled(data, "val", cache, label_size=(128, 256))
    assert large.label(0).shape == (128, 256)
    np.testing.assert_array_equal(large.image(0), decoded[2][0])


@pytest.mark.slow
def test_the_count_is_reported_beside_the_published_one(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = assignments(made, "cityscapes_crosscity")
    assert prepare(tmp_path, given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Cityscapes, source train: 8 of 2,975 images, 8 labels in ")
    assert lines[1].startswith("NTHU Cross-City Rome, target train: 8 of 3,200 images in ")
    assert lines[2].startswith("NTHU Cross-City Rome, target test: 6 of 100 images, 6 labels in ")
    assert all(line.endswith("NOT the published number") for line in lines[:3])
    assert any("rome-test-labels-96x48-" in line and "6 to decode" in line for line in lines)
    assert "  36 decoded in" in "\n".join(lines)
    assert prepare(tmp_path, given) == 0
    again = capsys.readouterr().out
    assert again.count("there already") == 5 and "decoded" not in again


@pytest.mark.slow
def test_processes_write_the_same(made: Path, tmp_path: Path) -> None:
    given = assignments(made, "gta5_cityscapes")
    assert prepare(tmp_path / "one", given) == 0
    assert main(["prepare", *given, "--cache", str(tmp_path / "two"), "--workers", "2"]) == 0
    assert_equal(
        read_all(data_of(given), "val", tmp_path / "one"),
        read_all(data_of(given), "val", tmp_path / "two"),
    )


def test_checking_writes_nothing(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert prepare(cache, assignments(made, "gta5_cityscapes"), "--check") == 0
    out = capsys.readouterr().out
    assert "GTA5, source train: 8 of 24,966 images" in out
    assert "no split.mat, all are for training" in out
    assert not cache.exists()


def test_progress_says_what_is_left(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.commands.prepare, "SAY_EVERY_S", 0.0)
    assert prepare(tmp_path, assignments(made, "gta5_cityscapes")) == 0
    assert re.search("  9 decoded, 27 left, about [0-9]+ s", capsys.readouterr().out)


def test_all_that_is_missing_is_named_at_once(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trees / "gta5/labels/00002.png").unlink()
    (trees / "gta5/labels/00005.png").unlink()
    shutil.rmtree(trees / "cityscapes/gtFine/val/munster")
    assert prepare(tmp_path / "cache", assignments(trees, "gta5_cityscapes")) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "2 of 8 images have no label: images/00002.png, images/00005.png; add" in errors[0]
    assert "3 of 6 images have no label: leftImg8bit/val/munster/" in errors[1]
    assert not (tmp_path / "cache").exists()


def test_labels_of_target_training_images_are_not_needed(trees: Path, tmp_path: Path) -> None:
    shutil.rmtree(trees / "cityscapes/gtFine/train")
    assert prepare(tmp_path / "cache", assignments(trees, "gta5_cityscapes")) == 0


def test_files_that_cannot_be_used_are_named_and_the_others_stay(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, cache = assignments(trees, "gta5_cityscapes"), tmp_path / "cache"
    image, label = trees / "gta5/images/00003.png", trees / "gta5/labels/00006.png"
    whole = {path: path.read_bytes() for path in (image, label)}
    for path in whole:
        # Cut off and filled up: a copy that broke off, of the right size.
        path.write_bytes(whole[path][:200].ljust(len(whole[path]), b"\0"))
    assert prepare(cache, given) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "images/00003.png: cannot be read as PNG" in errors[0]
    assert "labels/00006.png: cannot be read as PNG" in errors[1]
    assert "2 files cannot be used: mend them and run again" in errors[2]
    data = data_of(given)
    source, target = open_source(data, "train", cache), open_target_images(data, cache)
    assert not is_cached(source)
    assert is_cached(target)
    for path, content in whole.items():
        path.write_bytes(content)
    assert prepare(cache, given) == 0
    assert "  2 decoded in" in capsys.readouterr().out
    assert_equal(read_all(data, "val", cache), read_all(data, "val", tmp_path / "none"))


def test_labels_in_colours_are_refused_before_anything_is_decoded(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, cache = assignments(trees, "gta5_cityscapes"), tmp_path / "cache"
    labels = sorted((trees / "gta5/labels").iterdir())
    for count, options in ((1, ["--check"]), (8, ["--check"]), (8, [])):
        for label in labels[:count]:
            with Image.open(label) as image:
                colours = image.convert("RGB")
            colours.save(label)
        assert prepare(cache, given, *options) == 2
        line = capsys.readouterr().err
        assert f"{labels[0]}: label mode is RGB" in line and line.count("\n") == 1
        assert ("(and 7 more of 8 labels looked at)" in line) == (count == 8)
        assert not cache.exists()


def test_originals_that_changed_are_read_themselves(trees: Path, tmp_path: Path) -> None:
    given, cache = assignments(trees, "gta5_cityscapes"), tmp_path / "cache"
    assert prepare(cache, given) == 0
    shutil.copy(trees / "gta5/images/00001.png", trees / "gta5/images/00002.png")
    source = open_source(data_of(given), "train", cache)
    assert not is_cached(source)
    np.testing.assert_array_equal(source.image(0), source.image(1))


KILLED_AFTER = 13
KILLED = f"""
import os, signal, sys
import stvm.data.published.cache_writer as prepare
from studies.__main__ import main

prepare.MARK_EVERY_S = 0.0
written, pwrite = 0, os.pwrite

def counted(file, content, offset):
    global written
    if len(content) == 1:
        return pwrite(file, content, offset)
    written += 1
    if written > {KILLED_AFTER}:
        pwrite(file, content[: len(content) // 2], offset)
        os.kill(os.getpid(), signal.SIGKILL)
    return pwrite(file, content, offset)

os.pwrite = counted
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_kill_within_an_image_costs_that_image(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, cache = assignments(made, "gta5_cityscapes"), tmp_path / "cache"
    command = [sys.executable, "-c", KILLED, "prepare", "--cache", str(cache), "--workers", "1"]
    ended = subprocess.run([*command, *given], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    data = data_of(given)
    source = open_source(data, "train", cache)
    assert is_cached(source), "its 8 images were done"
    half = next((cache / "gta5").glob("train-labels-*"))
    assert (half / "done").read_bytes() == b"\1" * 5 + b"\0" * 3
    assert_equal(read_all(data, "val", cache), read_all(data, "val", tmp_path / "none"))
    assert prepare(cache, given) == 0
    out = capsys.readouterr().out
    assert "3 to decode" in out and f"  {36 - KILLED_AFTER} decoded in" in out
    assert not (half / "done").exists()
    assert_equal(read_all(data, "val", cache), read_all(data, "val", tmp_path / "none"))


def test_an_interruption_keeps_what_is_done(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, calls = assignments(made, "gta5_cityscapes"), 0
    decode = stvm.data.published.decode_pool.decode_image

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return decode(*args)

    monkeypatch.setattr(stvm.data.published.decode_pool, "decode_image", interrupted)
    assert prepare(tmp_path, given) == 130
    assert next(tmp_path.rglob("done")).read_bytes() == b"\1" * 3 + b"\0" * 5


def test_two_commands_do_not_write_the_same_array(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = open_target_images(data_of(assignments(made, "gta5_cityscapes")), tmp_path).images
    assert isinstance(images, PublishedImages)
    store = DecodedArray(tmp_path, images.part, "images", (48, 96), images.paths)
    with stvm.data.published.cache_writer._alone(store):
        assert prepare(tmp_path, assignments(made, "gta5_cityscapes")) == 2
    assert "another process prepares it; wait for it" in capsys.readouterr().err


def test_a_disk_too_small_is_refused_before_anything_is_decoded(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert prepare(tmp_path, assignments(made, "gta5_cityscapes")) == 2
    assert "0.3 MB are needed and 0.0 MB are free; make room" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npy"))


def test_a_damaged_array_names_the_folder_to_delete(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = assignments(made, "gta5_cityscapes")
    assert prepare(tmp_path, given) == 0
    path = next(tmp_path.glob("cityscapes/train-images-*/array.npy"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(StvmError, match="cannot read .*array.npy.*delete"):
        open_target_images(data_of(given), tmp_path)
    capsys.readouterr()
    assert prepare(tmp_path, given) == 2
    said = capsys.readouterr()
    assert f"delete {path.parent} and run again" in said.err and "prepared:" not in said.out


def test_the_index_lists_the_originals(made: Path, tmp_path: Path) -> None:
    assert prepare(tmp_path, assignments(made, "gta5_cityscapes")) == 0
    index = json.loads(next(tmp_path.glob("gta5/train-labels-72x40-*/index.json")).read_text())
    path = made / "gta5/labels/00001.png"
    assert index["files"][0] == ["labels/00001.png", path.stat().st_size]
    assert (index["dataset"], index["kind"], index["height"]) == ("GTA5", "labels", 40)


@pytest.mark.parametrize("there", [True, False])
def test_the_source_is_left_alone_where_its_model_is_given(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    given, cache = assignments(trees, "gta5_cityscapes"), tmp_path / "cache"
    if not there:
        shutil.rmtree(trees / "gta5")
        assert prepare(cache, given) == 2
        line = capsys.readouterr().err
        assert "gta5: no such folder (beside it: cityscapes" in line
        assert line.rstrip().endswith(
            "or give source_checkpoint=FILE, with which no source images are needed"
        )
    assert prepare(cache, [*given, "source_checkpoint=model.pth"]) == 0
    out = capsys.readouterr().out
    assert "source: not needed, as source_checkpoint=model.pth is given; no such file yet" in out
    assert sorted(path.name for path in cache.iterdir()) == ["cityscapes"]


def test_the_source_is_left_alone_where_its_model_is_trained(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = assignments(made, "gta5_cityscapes")
    settings = find_preset("paper").settings(**parse_assignments(given))
    model = tmp_path / "sources" / f"{settings.source_hash()}.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    assert prepare(tmp_path, given, "--check") == 0
    out = capsys.readouterr().out
    assert f"source: not needed, as its model is trained: {model}" in out and "GTA5" not in out


def test_sizes_and_free_room_are_said_before_anything_is_decoded(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7_000_000_000))
    cache = tmp_path / "not" / "there"
    assert prepare(cache, assignments(made, "gta5_cityscapes"), "--check") == 0
    # Source 8 x 40 x 72 x (3 + 1), target 8 x 48 x 96 x 3 and 6 x 48 x 96 x (3 + 1).
    need = (8 * 40 * 72 * 4 + 8 * 48 * 96 * 3 + 6 * 48 * 96 * 4) / 1e6
    said = f"{need:.1f} MB are needed, 7.0 GB are free in {cache}"
    assert said in capsys.readouterr().out
    assert not cache.exists()


@pytest.mark.parametrize(("level", "meant"), [("gta5/images", "gta5"), (".", "gta5")])
def test_a_root_at_another_level_is_told(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, meant: str
) -> None:
    given = but(assignments(made, "gta5_cityscapes"), f"source_root={made / level}")
    assert prepare(tmp_path, given) == 2
    assert f"; did you mean {made / meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("archive", "root", "message"),
    [
        ("gta5.zip", "gta5.zip", "gta5.zip: it is a file: unpack it and name its folder; GTA5 is"),
        ("GTA5.tar.gz", "gta5", "gta5: no such folder .*; .*GTA5.tar.gz is there: unpack it; GTA5"),
        ("notes.txt", "notes.txt", "notes.txt: it is a file; GTA5"),
        ("other.zip", "~/gta5", "the shell left ~ as it is: write the path in full; GTA5 is exp"),
        ("other.zip", "link", "; it is a link to nowhere, which is not there: link it again; GTA5"),
    ],
)
def test_what_is_there_in_place_of_a_root_is_told(
    trees: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    archive: str,
    root: str,
    message: str,
) -> None:
    shutil.rmtree(trees / "gta5")
    (trees / archive).write_bytes(b"x")
    (trees / "link").symlink_to("nowhere")
    path = root if root.startswith("~") else trees / root
    given = but(assignments(trees, "gta5_cityscapes"), f"source_root={path}")
    assert prepare(tmp_path, given) == 2
    line = capsys.readouterr().err
    assert re.search(message, line) and line.count("\n") == 1


def test_a_folder_that_may_not_be_read_and_a_cache_that_is_a_file_are_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, file = assignments(made, "gta5_cityscapes"), tmp_path / "file"
    file.write_bytes(b"x")
    for cache in (file, file / "below", Path("/dev/null")):
        assert prepare(cache, given) == 2
        line = capsys.readouterr().err
        assert f"--cache {cache}: " in line and line.endswith(" is a file; name a folder\n")

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert prepare(tmp_path, given) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    assert "gta5/split.mat: Permission denied; ask its owner for access" in line


def test_a_root_that_is_not_there_is_one_line_though_two_splits_are_wanted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = but(assignments(made, "gta5_cityscapes"), f"target_root={made / 'nowhere'}")
    assert prepare(tmp_path, given) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"did you mean {made / 'cityscapes'}?" in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "say which data: --preset and one of gta5-cityscapes-deeplabv2, "),
        (["height=64"], "say which data"),
        (["--preset", "demo"], "dataset=streets needs no preparing"),
        (["dataset=gta5_cityscapes", "eval_split=val"], "source_root is not set"),
        (["dataset=gta5_cityscape"], "gta5_cityscape"),
        (["dataset=gta5_cityscapes", "heigt=3"], "did you mean 'height'"),
        (["--workers", "0"], "not a whole number from 1 on"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    try:
        code = main(["prepare", "--cache", str(tmp_path), *given])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    line = capsys.readouterr().err
    assert message in line and line.count("\n") == 1
