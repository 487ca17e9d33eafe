"""`python -m studies adapt`: a folder of images without labels, from one command to its result."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from studies.__main__ import main
from studies.commands.before_after import CELL, GAP, HEADING, LINE, Shown, draw_before_after
from studies.commands.progress_line import ProgressLine
from stvm.networks import build_network
from stvm.pretrained import open_checkpoint, save_network
from stvm.settings.presets import find_preset
from tests.helpers.adapt_words import NAMES, facts_of, words
from tests.helpers.command_output import content, refused


def test_one_command_writes_network_labels_picture_and_facts(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(words(photos, weights, out)) == 0
    said = capsys.readouterr()
    assert "8 images, each resized to 64x48 (width x height)" in said.out
    assert "those of another shape are stretched to it: 7" in said.out
    assert "no label was read" in said.out and "entropy" in said.out
    assert "iteration 4 of 4" in said.err
    network = open_checkpoint(out / "model.safetensors")
    assert network.class_names == NAMES
    source = load_file(weights)
    trained = network.build().state_dict()
    assert any(not torch.equal(trained[name], value) for name, value in source.items())
    for path in photos.glob("p*.*"):
        labels = np.array(Image.open(out / "labels" / f"{path.stem}.png"))
        assert labels.dtype == np.uint8 and labels.max() < 3
        assert labels.shape[::-1] == Image.open(path).size
    assert len(list((out / "labels").iterdir())) == 8
    facts = facts_of(out)
    preset = find_preset("own_images").settings()
    assert facts["settings"]["iterations"] == 4 and facts["settings"]["lr"] == preset.training.lr
    assert facts["classes"] == list(NAMES) and facts["images"] == 8
    assert set(facts["result"]["changes"]) >= {"changed", "from_to", "entropy", "information"}
    curve = orjson.loads((out / "curve.json").read_bytes())
    assert [point["iteration"] for point in curve["curve"]] == [1, 2, 3, 4]
    with Image.open(out / "before_after.png") as picture:
        # Three columns; four rows, of which the first image is taller.
        heights = [round(48 * min(CELL[0] / 64, CELL[1] / 48)), *[round(32 * CELL[0] / 48)] * 3]
        assert picture.width == 3 * CELL[0] + 4 * GAP
        assert picture.height == HEADING + sum(heights) + 4 * GAP + LINE + GAP
    assert not (out / ".work" / "training.state").exists()


def test_labels_are_those_of_predict_with_the_folder(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert main(words(photos, weights, out, "--height", "32")) == 0
    assert facts_of(out)["width"] == 48
    assert main(["predict", str(out), str(photos / "p1.png"), "--out", str(again)]) == 0
    ours, theirs = (
        np.array(Image.open(path)) for path in (out / "labels" / "p1.png", again / "p1_labels.png")
    )
    assert np.array_equal(ours, theirs)
    assert (again / "p1_reliability.png").is_file()
    assert main(["export-model", str(out), "--format", "plain", "--out", str(tmp_path / "m")]) == 0


def test_what_was_stopped_before_the_first_iteration_begins_again(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.commands.photo_work.adapt_to_photos", stop)
    assert main(words(photos, weights, tmp_path / "out")) == 130
    assert "interrupted: the same command begins again" in capsys.readouterr().err


def test_the_command_for_other_images_can_be_pasted_into_a_shell(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my result"
    for _ in range(2):
        assert main(words(photos, weights, out)) == 0
        assert f"studies predict '{out}' FOLDER" in capsys.readouterr().out


class _Stopping(ProgressLine):
    """Presses Ctrl-C in the second iteration."""

    def __call__(self, done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        super().__call__(done, total, watch)
        if (self.what, done) == ("iteration", 1):
            signal.raise_signal(signal.SIGINT)


def test_what_was_stopped_goes_on_and_ends_the_same_to_the_bit(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(words(photos, weights, whole)) == 0
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr("studies.commands.photo_work.ProgressLine", _Stopping)
        assert main(words(photos, weights, parts)) == 130
    said = capsys.readouterr().err
    assert "interrupted after iteration 2 of 4: the same command goes on" in said
    assert not (parts / "model.safetensors").exists()
    assert main(words(photos, weights, parts)) == 0
    assert "2 of them earlier" in capsys.readouterr().out
    assert facts_of(parts)["resumed_from"] == 2
    for name in ("curve.json", "before_after.png", *(f"labels/p{n}.png" for n in range(8))):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    for name in ("model.safetensors", "metric.safetensors"):
        # The order of a file's own description is not fixed.
        ours, theirs = (load_file(out / name) for out in (whole, parts))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_a_folder_holds_one_adaptation(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(words(photos, weights, out)) == 0
    before = content(out)
    capsys.readouterr()
    assert main(words(photos, weights, out, "workers=0")) == 0
    assert "finished already" in capsys.readouterr().out
    said = refused(capsys, *words(photos, weights, out, "alpha=3"))
    assert "another adaptation, with alpha=2.0 and not 3.0" in said and "--out" in said
    said = refused(capsys, *words(photos, weights, out, "--height", "32"))
    assert "another adaptation, at height 48 and not 32" in said
    said = refused(capsys, *words(photos, weights, out, "--height", "48", "--width", "32"))
    assert "another adaptation, at width 64 and not 32" in said
    (photos / "p9.png").write_bytes((photos / "p1.png").read_bytes())
    assert "of other images" in refused(capsys, *words(photos, weights, out))
    (photos / "p9.png").unlink()
    other = tmp_path / "other.safetensors"
    save_network(build_network("small_deeplab", 16, len(NAMES)), other, NAMES)
    assert "of other checkpoint" in refused(capsys, *words(photos, other, out))
    assert {p: b for p, b in content(out).items() if ".work" not in p.parts} == {
        p: b for p, b in before.items() if ".work" not in p.parts
    }


def test_the_picture_shows_image_and_both_predictions_in_the_colours_of_the_legend() -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[1], palette[2] = (200, 0, 0), (0, 0, 200)
    image = Image.new("RGB", CELL, (0, 90, 0))
    before, after = (np.full(CELL[::-1], i, np.uint8) for i in (1, 2))
    sheet = draw_before_after([Shown(image, before, after)], ("a", "b", "c"), palette)
    middle = HEADING + CELL[1] // 2
    seen = [sheet.getpixel((GAP + n * (CELL[0] + GAP) + 9, middle)) for n in range(3)]
    assert seen == [(0, 90, 0), (200, 0, 0), (0, 0, 200)]
    legend = np.array(sheet)[HEADING + CELL[1] + GAP :]
    counts = [(legend == palette[i]).all(2).sum() for i in (1, 2)]
    assert all(count > 200 for count in counts)


def test_the_pace_is_that_of_the_iterations_after_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = iter([100.0, 104.0, 140.0])
    line = ProgressLine("iteration", lambda: next(clock))
    line(3, 10)
    line(5, 10)
    assert line.text() == "iteration 5 of 10, 2 s each, about 10 s left"
    line(10, 10)
    said = capsys.readouterr().err.splitlines()
    assert said == ["iteration 3 of 10", "iteration 10 of 10, 5.7 s each"]
