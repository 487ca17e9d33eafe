"""The corruption tool: disjoint halves, repeatable pixels, no label for target training."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stvm.data import corrupt
from stvm.data.classes import parse_classes
from stvm.data.corrupt import divide, main
from stvm.data.corruptions import LIBRARY, Corruption
from stvm.data.folder import FolderImages, LabelledFolder
from stvm.errors import StvmError

HEIGHT, WIDTH = 24, 32
ALL_KINDS = ("fog", "low_light", "noise")
TRAIN = [f"seqA_{n:03d}" for n in range(6)] + [f"seqB_{n:03d}" for n in range(5)]


def _write_split(root: Path, split: str, names: list[str]) -> None:
    for part in ("images", "labels"):
        (root / split / part).mkdir(parents=True)
    for number, name in enumerate(names):
        draw = np.random.default_rng(number)
        coarse = draw.integers(60, 200, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(root / split / f"images/{name}.png")
        label = draw.integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
        Image.fromarray(label).save(root / split / f"labels/{name}.png")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    _write_split(root, "train", TRAIN)
    _write_split(root, "val", ["v_1", "v_2"])
    _write_split(root, "test", ["t_1", "t_2", "t_3"])
    return root


def _names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def _bytes_below(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_divide_gives_contiguous_disjoint_halves_of_each_sequence() -> None:
    division = divide([Path(f"{name}.png") for name in TRAIN], 0.0)
    source = [path.stem for path in division.source]
    target = [path.stem for path in division.target]
    assert source == TRAIN[:3] + TRAIN[6:9]
    assert target == TRAIN[3:6] + TRAIN[9:]
    assert division.val == []


def test_divide_keeps_the_end_of_each_sequence_for_val() -> None:
    names = [f"x{n:02d}" for n in range(20)]
    division = divide([Path(f"{name}.png") for name in reversed(names)], 0.1)
    assert [path.stem for path in division.val] == names[18:]
    assert [path.stem for path in division.source + division.target] == names[:18]
    assert len(division.source) == len(division.target) == 9


def test_divide_balances_sequences_of_one_image() -> None:
    division = divide([Path(f"seq{letter}_1.png") for letter in "abcdef"], 0.0)
    assert len(division.source) == len(division.target) == 3


def test_kind_depends_on_seed_and_name_only() -> None:
    names = [f"n{number}" for number in range(300)]
    drawn = [Corruption(ALL_KINDS, 3, 0).kind(name) for name in names]
    assert drawn == [Corruption(ALL_KINDS[::-1], 3, 0).kind(name) for name in names]
    assert drawn != [Corruption(ALL_KINDS, 3, 1).kind(name) for name in names]
    assert all(70 < drawn.count(kind) < 130 for kind in ALL_KINDS)


@pytest.mark.parametrize(
    ("kinds", "severity", "fault"),
    [
        (("rain",), 3, "kinds 'rain'"),
        (("fog", "fog"), 3, "each once"),
        ((), 3, "one or more"),
        (("fog",), 0, "severity 0"),
        (("fog",), 6, "severity 6"),
    ],
)
def test_corruption_refuses(kinds: tuple[str, ...], severity: int, fault: str) -> None:
    with pytest.raises(StvmError, match=fault):
        Corruption(kinds, severity, 0)


def test_missing_library_is_one_line_and_leaves_nothing(
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, LIBRARY, None)
    assert main([str(labelled), str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert "pip install -e '.[corrupt]'" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_into(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    assert main([str(labelled), str(out)]) == 1
    assert f"{out}: is not an empty folder" in capsys.readouterr().err
    assert _names(out) == {"mine"}
    assert main([str(labelled), str(labelled / "foggy")]) == 1
    assert f"lies in {labelled}, whose images are read" in capsys.readouterr().err
    assert not (labelled / "foggy").exists()
    for split in ("test", "val"):
        (labelled / split).rename(labelled / split.upper())
        assert main([str(labelled), str(labelled.with_name("new"))]) == 1
        told = f"{labelled}/{split.upper()} is there: rename it to {split}\n"
        assert told in capsys.readouterr().err
        (labelled / split.upper()).rename(labelled / split)


def test_what_the_system_keeps_from_a_user_is_told(
    labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/data/camvid")

    monkeypatch.setattr("stvm.data.corrupt.make_task", denied)
    assert main([str(labelled), "out"]) == 1
    assert capsys.readouterr().err.startswith("error: /data/camvid: Permission denied; ask its own")


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_val_share_out_of_range(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str
) -> None:
    assert main([str(labelled), str(tmp_path / "out"), "--val-share", share]) == 1
    assert "val share" in capsys.readouterr().err


def test_task_is_disjoint_and_its_target_training_has_no_labels(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(LIBRARY)
    out = tmp_path / "out"
    assert main([str(labelled), str(out)]) == 0
    source, target = (_names(out / part / "train/images") for part in ("source", "target"))
    assert source | target == set(TRAIN)
    assert not source & target
    assert _names(out / "target/train") == {"images"}
    assert capsys.readouterr().out.count("\n") == 4

    classes = parse_classes("a,b")
    for root, split in (("source", "train"), ("target", "val"), ("target", "test")):
        made = LabelledFolder(out / root, split, HEIGHT, WIDTH, classes)
        given = LabelledFolder(labelled, split, HEIGHT, WIDTH, classes)
        for index, name in enumerate(made.names):
            original = given.names.index(name)
            np.testing.assert_array_equal(made.label(index), given.label(original))
            same = np.array_equal(made.image(index), given.image(original))
            assert same == (root == "source")


def test_task_is_repeatable_and_changes_with_the_seed(labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip(LIBRARY)
    outs = [tmp_path / name for name in ("one", "again", "other")]
    for out, seed in zip(outs, ("0", "0", "1"), strict=True):
        assert main([str(labelled), str(out), "--seed", seed]) == 0
    one, again, other = (_bytes_below(out) for out in outs)
    assert one == again
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one if name.startswith("target/train/"))


def test_manifest_records_library_severity_and_kinds(labelled: Path, tmp_path: Path) -> None:
    library = pytest.importorskip(LIBRARY)
    out = tmp_path / "out"
    assert main([str(labelled), str(out), "--kinds", "noise", "--severity", "2"]) == 0
    manifest = json.loads((out / corrupt.MANIFEST).read_text())
    assert manifest["library_version"] == library.__version__
    assert manifest["severity"] == 2
    assert manifest["target"]["test"] == {f"t_{n}.png": "noise" for n in (1, 2, 3)}
    assert set(manifest["target"]["train"]) == {
        path.name for path in (out / "target/train/images").iterdir()
    }


def test_without_val_and_test_a_share_of_train_in_neither_half_is_used(tmp_path: Path) -> None:
    pytest.importorskip(LIBRARY)
    _write_split(tmp_path / "src", "train", TRAIN)
    out = tmp_path / "out"
    assert main([str(tmp_path / "src"), str(out), "--val-share", "0.2"]) == 0
    halves = _names(out / "source/train/images") | _names(out / "target/train/images")
    val = _names(out / "target/val/images")
    assert val == {"seqA_005", "seqB_004"}
    assert halves == set(TRAIN) - val
    assert _names(out / "target/test/images") == val
    assert json.loads((out / corrupt.MANIFEST).read_text())["test_is_val"] is True


def test_each_kind_has_its_effect_and_grows_with_severity() -> None:
    pytest.importorskip(LIBRARY)
    ramp = np.linspace(40, 160, 64).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()
    results = {
        kind: [Corruption((kind,), level, 0).apply(image, "x").astype(float) for level in (1, 3, 5)]
        for kind in ALL_KINDS
    }
    slight, middle, heavy = results["low_light"]
    assert image.mean() > slight.mean() > middle.mean() > heavy.mean()
    slight, middle, heavy = results["fog"]
    assert image.mean() < slight.mean() < middle.mean() < heavy.mean()
    assert image.std() > slight.std() > middle.std() > heavy.std()
    deviations = [np.std(result - image) for result in results["noise"]]
    assert deviations[0] < deviations[1] < deviations[2]


def test_an_unreadable_image_is_named(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(LIBRARY)
    (labelled / "test/images/t_2.png").write_bytes(b"broken")
    assert main([str(labelled), str(tmp_path / "out")]) == 1
    assert "test/images/t_2.png: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out" / corrupt.MANIFEST).exists()


def test_target_training_opens_without_labels(labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip(LIBRARY)
    assert main([str(labelled), str(tmp_path / "out")]) == 0
    target = FolderImages(tmp_path / "out/target", "train", HEIGHT, WIDTH)
    assert target.image(0).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(StvmError, match="image has no label"):
        LabelledFolder(tmp_path / "out/target", "train", HEIGHT, WIDTH, parse_classes("a,b"))
