"""Input of `prepare`: refused in one line, and told of before anything is decoded."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from studies.__main__ import main
from stvm.settings import parse_assignments
from stvm.settings.presets import find_preset
from tests.helpers.prepare_words import assignments, but, prepare


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


def test_a_disk_too_small_is_refused_before_anything_is_decoded(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert prepare(tmp_path, assignments(made, "gta5_cityscapes")) == 2
    assert "0.3 MB are needed and 0.0 MB are free; make room" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npy"))


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
