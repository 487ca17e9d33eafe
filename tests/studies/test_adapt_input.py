"""Input of `adapt`: what is refused in one line, and the sizes and networks that are taken."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studies.__main__ import main
from studies.commands.adaptation_folder import AdaptationFolder, refuse_predictions
from studies.commands.class_legend import legend_of, write_legend
from stvm.data.photo_folder import adaptation_size
from stvm.errors import StvmError
from stvm.pretrained import save_network
from stvm.source_model.loading import new_network
from tests.helpers.adapt_words import SHORT, facts_of, words
from tests.helpers.any_network import IN_BLOCKS, OWN, kind, make_own
from tests.helpers.command_output import refused
from tests.helpers.tiny_settings import tiny


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["bacth=4"], "did you mean 'batch'"),
        (["batch"], "not of the form setting=value"),
        (["lr=0"], "'lr'"),
        (["crop_height=80"], "crop 80x64 is larger than the image 48x64"),
        (["height=32"], "give it as --height PIXELS"),
        (["network=espnetv2"], "--network espnetv2: give FILE.py:FUNCTION"),
        (["network_width=2"], "the network is that of the checkpoint"),
        (["dataset=folder"], "has no meaning here"),
        (["eval_split=val"], "has no meaning here"),
        (["st=false", "aug=false", "mt=false", "mgs=false", "mocm=false"], "nothing to adapt"),
        (["--height", "8"], "'height' is 8"),
        (["checkpoint_family=mmseg"], "mmseg"),
    ],
)
def test_wrong_settings_are_one_line_and_write_nothing(
    more: list[str],
    told: str,
    photos: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = [word for word in words(photos, weights, tmp_path / "out") if "=" not in word]
    assert told in refused(capsys, *short, *more)
    assert not (tmp_path / "out").exists()


def test_wrong_files_are_one_line(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()

    def says(*arguments: object) -> str:
        return refused(capsys, *words(*arguments))  # type: ignore[arg-type]

    assert "is not there" in says(tmp_path / "none", weights, out)
    assert "is a file: name a folder" in says(weights, weights, out)
    assert "no image lies in this folder itself" in says(empty, weights, out)
    assert f"did you mean {photos}?" in says(tmp_path, weights, out)
    (empty / "a.png").write_bytes((photos / "p1.png").read_bytes())
    assert "is the only image" in says(empty, weights, out)
    (empty / "a.jpg").write_bytes((photos / "p0.jpg").read_bytes())
    assert "same stem" in says(empty, weights, out)
    assert "source.pth" in says(photos, tmp_path / "source.pth", out)
    assert "p0.jpg" in says(photos, photos / "p0.jpg", out)
    assert "is a file" in says(photos, weights, weights)
    (tmp_path / "link").symlink_to(photos)
    (photos / "adapted").mkdir()
    (tmp_path / "below").symlink_to(photos / "adapted")
    for inside in (photos, photos / "adapted", tmp_path / "link", tmp_path / "below"):
        assert f"lies in {photos}, whose images are read" in says(photos, weights, inside)
    (photos / "adapted").rmdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    assert "holds other files (mine.txt)" in says(photos, weights, tmp_path / "other")
    assert not out.exists()
    (photos / "p3.png").write_bytes(b"no image")
    assert "p3.png" in says(photos, weights, out)
    assert not out.exists()
    empty = tmp_path / "other"
    (empty / "mine.txt").unlink()
    assert "p3.png" in says(photos, weights, empty)
    assert not any(empty.iterdir())
    (photos / "classes.csv").write_bytes(legend_of(["road"], np.zeros((256, 3), np.uint8)))
    assert f"{photos}: predictions lie there ({photos}/classes.csv is theirs)" in says(
        photos, weights, out
    )
    assert not out.exists()
    named = ["adapt", str(photos)]
    assert "--checkpoint FILE" in refused(capsys, *named, "--out", str(out))
    assert "--out DIR" in refused(capsys, *named, "--checkpoint", str(weights))


@pytest.mark.parametrize(
    "name",
    [
        *("own", "espnetv2"),
        pytest.param("segformer", marks=pytest.mark.slow),
        pytest.param("lraspp_mobilenet_v3_large", marks=pytest.mark.slow),
    ],
)
def test_the_network_is_that_of_the_file(
    name: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = kind(name, tmp_path)
    if name == "own":
        make_own(tmp_path, OWN.replace("print", "str"))
    settings = tiny(**chosen, width=64, height=48)
    network, path = new_network(settings), tmp_path / "any.safetensors"
    count = network.architecture.num_classes
    save_network(network, path, tuple(f"kind {n}" for n in range(count)))
    code = ["--network", settings.network.network] if name == "own" else []
    given = [*words(photos, path, tmp_path / "out"), "iterations=1", *code]
    given.remove(SHORT[0])
    if name == "own":
        assert "start_bn=0.5: the network has no batch norm" in refused(capsys, *given)
        assert "network=FILE.py:FUNCTION" in refused(capsys, *given[:-2])
        given.append("start_bn=0")
    assert main(given) == 0
    facts = facts_of(tmp_path / "out")
    assert facts["source_model"]["network"] == network.architecture.network
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 8
    again = ["predict", str(tmp_path / "out"), str(photos / "p1.png"), *code]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0


def test_a_shape_that_the_network_cannot_label_is_refused_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny(network=make_own(tmp_path, IN_BLOCKS), width=64, height=64)
    save_network(new_network(settings), tmp_path / "any.safetensors", tuple("abcdefghijklmnopqrs"))
    folder = tmp_path / "shapes"
    folder.mkdir()
    for name, width in (("a", 64), ("b", 128), ("odd", 80)):
        Image.new("RGB", (width, 64), (90, 120, 30)).save(folder / f"{name}.png")
    given = words(folder, tmp_path / "any.safetensors", tmp_path / "out")
    given.remove(SHORT[0])
    given += ["iterations=1", "start_bn=0", "--network", settings.network.network]
    given += ["--height", "64", "--width", "64"]
    said = refused(capsys, *given)
    assert "cannot take 1 image of 64x80" in said and "a width of 80" in said
    assert str(folder / "odd.png") in said
    assert not (tmp_path / "out").exists()
    (folder / "odd.png").unlink()
    assert main(given) == 0


@pytest.mark.parametrize(
    ("own", "asked", "size"),
    [
        ((360, 480), (0, 0), (352, 480)),
        ((1080, 1920), (0, 0), (304, 544)),
        ((1920, 1080), (0, 0), (544, 304)),
        ((44, 60), (0, 0), (48, 64)),
        ((4, 4), (0, 0), (16, 16)),
        ((360, 480), (180, 0), (180, 240)),
        ((360, 480), (0, 240), (176, 240)),
        ((360, 480), (100, 300), (100, 300)),
    ],
)
def test_the_size_keeps_the_shape(
    own: tuple[int, int], asked: tuple[int, int], size: tuple[int, int]
) -> None:
    assert adaptation_size(own, *asked) == size


def test_a_height_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    from stvm.errors import StvmError

    (tmp_path / "settings.json").write_text('{"schema": 1}')
    with pytest.raises(StvmError, match=r"settings\.json: no height"):
        AdaptationFolder(tmp_path).height()


def test_label_maps_are_no_photos_wherever_they_lie_below_the_legend(tmp_path: Path) -> None:
    legend = tmp_path / "out/classes.csv"
    for name in ("labels", "cam/left", "photos"):
        (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out/cam/left/a_labels.png").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "out/labels")
    photos = [tmp_path / "out" / name for name in ("labels", "cam/left", "photos")]
    refuse_predictions(photos[0])
    write_legend(legend_of(["road"], np.zeros((256, 3), np.uint8)), legend)
    for folder in (*photos[:2], tmp_path / "link"):
        told = f"{folder}: predictions lie there ({legend} is theirs)"
        with pytest.raises(StvmError, match=re.escape(told)):
            refuse_predictions(folder)
    refuse_predictions(photos[2])
    legend.write_text("mine")
    refuse_predictions(photos[0])
