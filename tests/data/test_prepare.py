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
from tests.helpers.prepare_words import assignments, prepare

ROOT = Path(__file__).resolve().parents[2]


def data_of(given: list[str]) -> DataSettings:
    return find_preset("paper").settings(**parse_assignments(given)).data


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
