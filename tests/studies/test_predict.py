"""`python -m studies predict`: labels, overlay and reliability of any image."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from studies.__main__ import main
from studies.commands.class_legend import legend_of, write_legend
from studies.commands.images_to_predict import list_images
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.records.results import Results
from stvm.trial.predictor import Predictor
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny

SIZES = ((64, 48), (200, 100), (33, 77), (128, 64), (16, 90))


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


@pytest.mark.slow
def test_the_images_of_the_record_get_its_labels_and_reliability(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = Results(kept).names()[0]
    with np.load(kept / "samples" / f"{name}.npz") as sample:
        arrays = dict(sample)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, image in enumerate(arrays["images"]):
        Image.fromarray(image).save(tmp_path / "in" / "deep" / f"{number}.png")
    out = tmp_path / "out"
    code = main(
        ["predict", name[:6], str(tmp_path / "in"), "--out", str(out), "--results", str(kept)]
    )
    assert code == 0 and "4 images predicted" in capsys.readouterr().out
    for number, image in enumerate(arrays["images"]):
        base = out / "deep" / str(number)
        labels = np.array(Image.open(f"{base}_labels.png"))
        assert np.array_equal(labels, arrays["predictions"][number])
        colours = np.array(Image.open(f"{base}_colours.png"))
        assert np.array_equal(colours, arrays["palette"][labels])
        overlay = np.array(Image.open(f"{base}_overlay.png")).astype(int)
        assert np.array_equal(overlay[:, : image.shape[1]], image)
        mixed = (image.astype(int) + colours) / 2
        assert np.abs(overlay[:, -image.shape[1] :] - mixed).max() <= 0.5
        # The record's reliability is that of the teacher's labels: equal where the student agrees.
        with torch.no_grad():
            found = np.array(Image.open(f"{base}_reliability.png")) / 255
        same = np.abs(found - arrays["reliability"][number]) < 0.003
        assert same.mean() > 0.5
    rows = list(csv.reader((out / "classes.csv").open()))
    assert rows[0] == ["id", "name", "red", "green", "blue"]
    assert rows[1] == ["0", "road", "128", "64", "128"] and len(rows) == 20


@pytest.mark.slow
def test_where_the_teacher_is_reported_it_is_the_network_that_labels(
    cache: Path, tmp_path: Path
) -> None:
    """Then labels and reliability equal those of the record at every pixel."""
    results = Results(tmp_path / "results")
    settings = tiny(keep_model=True, evaluated="teacher", ema_period=2, ema_momentum=0.3)
    name = run_and_record(settings, results, cache, torch.device("cpu")).hash
    with np.load(results.sample_path(name)) as sample:
        arrays = dict(sample)
    Image.fromarray(arrays["images"][0]).save(tmp_path / "a.png")
    given = ["predict", name, str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main([*given, "--results", str(results.root)]) == 0
    labels = np.array(Image.open(tmp_path / "out" / "a_labels.png"))
    assert np.array_equal(labels, arrays["predictions"][0])
    found = np.array(Image.open(tmp_path / "out" / "a_reliability.png")) / 255
    assert np.abs(found - arrays["reliability"][0]).max() <= 0.5 / 255 + 1e-5


def test_an_image_that_cannot_be_read_does_not_keep_the_others_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, photos, out = tmp_path / "w.safetensors", tmp_path / "photos", tmp_path / "out"
    save_network(build_network("small_deeplab", 16, 3), weights, ("road", "walk", "sky"))
    photos.mkdir()
    for name in ("a", "c"):
        photo(20, 20).save(photos / f"{name}.png")
    (photos / "b.png").write_text("no image")
    assert main(["predict", str(weights), str(photos), "--out", str(out)]) == 2
    told = capsys.readouterr()
    errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "b.png" in errors[0] and "2 images predicted" in told.out
    assert {p.name[0] for p in out.glob("*_labels.png")} == {"a", "c"}
    (out / "classes.csv").write_text("mine")
    assert main(["predict", str(weights), str(photos / "b.png"), "--out", str(out)]) == 2
    assert f"error: {out}/classes.csv exists" in capsys.readouterr().err, "before images are read"


def test_reliability_is_equations_3_and_4_of_the_teachers_features(kept: Path) -> None:
    """The twin enlarges the metric features first; the code does not."""
    from safetensors.torch import load_file

    from stvm.networks import assemble
    from stvm.pretrained import open_checkpoint
    from stvm.trial.metric_network_files import open_metric

    results = Results(kept)
    name = results.names()[0]
    checkpoint = open_checkpoint(results.model_path(name))
    student = checkpoint.build()
    reader = open_metric(results.metric_path(name), student, assemble(checkpoint.architecture))
    state = load_file(results.metric_path(name))
    teacher = build_network("small_deeplab", 16, 19).eval()
    teacher.load_state_dict(
        {k.removeprefix("labeller."): v for k, v in state.items() if k.startswith("labeller.")}
    )
    assert any(
        not torch.equal(a, b)
        for a, b in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True)
    )
    head = student.new_head(16).eval()
    head.load_state_dict(
        {k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")}
    )
    images = torch.rand(1, 3, 40, 56)
    labels = torch.randint(0, 19, (1, 80, 112))
    with torch.no_grad():
        features = teacher.features((images - teacher.mean) / teacher.std)
        metric = F.interpolate(head(features), (80, 112), mode="bilinear", align_corners=False)
    metric = metric / metric.norm(dim=1, keepdim=True)
    proxies = state["proxies"] / state["proxies"].norm(dim=1, keepdim=True)
    distance = (metric - proxies[labels].permute(0, 3, 1, 2)).square().sum(1)
    expected = 1 / (1 + torch.exp(-tiny().method.alpha * (tiny().method.beta - distance)))
    torch.testing.assert_close(reader(images, labels), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_of_any_size_gets_labels_of_its_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, 5).eval()
    image = photo(*size)
    predicted = Predictor(network)(image)
    with torch.no_grad():
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
        logits = network.classifier(network.features((pixels - network.mean) / network.std))
        expected = F.interpolate(logits, size[::-1], mode="bilinear", align_corners=False)
    assert predicted.labels.shape == size[::-1] and predicted.reliability is None
    assert np.array_equal(predicted.labels, expected.argmax(1)[0].numpy())


def test_mirrored_sums_the_softmax_of_the_image_and_its_mirror_image() -> None:
    torch.manual_seed(1)
    network = build_network("small_deeplab", 16, 5).eval()
    image = photo(60, 40)
    with torch.no_grad():
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
        there = network(pixels).softmax(1)
        back = network(pixels.flip(3)).flip(3).softmax(1)
    found = Predictor(network, mirrored=True)(image).labels
    assert np.array_equal(found, (there + back).argmax(1)[0].numpy())
    assert not np.array_equal(found, Predictor(network)(image).labels)


def test_the_height_is_what_the_network_sees_and_very_large_images_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network("small_deeplab", 16, 5).eval()
    assert Predictor(network, 64).input_size((512, 1024)) == (64, 128)
    assert Predictor(network, 64).input_size((3000, 1000)) == (64, 21)
    assert Predictor(network).input_size((100, 75)) == (100, 75)
    height, width = Predictor(network).input_size((4000, 6000))
    assert height * width <= 1024 * 2048 and abs(width / height - 1.5) < 0.01
    monkeypatch.setattr("stvm.trial.predictor.MOST_PIXELS", 1000)
    found = Predictor(network, 64)(photo(120, 80)).labels
    assert found.shape == (80, 120) and found.max() < 5


def test_a_file_of_weights_predicts_and_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "mine.safetensors"
    save_network(build_network("small_deeplab", 16, 3), weights, ("road", "walk", "sky"))
    image = tmp_path / "a.jpg"
    photo(50, 40).save(image)
    given = ["predict", str(weights), str(image), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_colours.png", "a_labels.png", "a_overlay.png", "classes.csv"]
    capsys.readouterr()
    assert main(given) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert main([*given[:-1], str(tmp_path)]) == 2, "beside the image"
    assert f"{tmp_path} is the folder of {image}: pictures written" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main([*given[:2], "a.jpg", "--out", "."]) == 2
    said = capsys.readouterr().err
    assert "--out . is the folder of a.jpg: pictures written" in said
    assert said.endswith("read as your images; name another folder, such as predicted\n")
    for kept in ("a_overlay.png", "classes.csv"):
        other = tmp_path / f"of {kept}"
        other.mkdir()
        (other / kept).write_text("mine")
        assert main([*given[:-1], str(other)]) == 2
        assert f"{kept} exists" in capsys.readouterr().err
        assert [p.name for p in other.iterdir()] == [kept]
        assert (other / kept).read_text() == "mine"
    photo(50, 40).save(tmp_path / "b.jpg")
    assert main([*given[:2], str(tmp_path / "b.jpg"), *given[3:]]) == 0
    capsys.readouterr()
    assert set(list_images([tmp_path])) == {"a", "b", "of a_overlay.png/a_overlay"}
    told = f"left out, since predictions lie there (classes.csv is theirs): {tmp_path / 'out'}\n"
    assert capsys.readouterr().err == told
    assert len(list_images([tmp_path / "out"])) == 6, "a folder that is named itself"


def test_a_folder_of_predictions_is_known_by_its_legend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As predict writes it, or a spreadsheet; images however deep below it are left out."""
    legend = legend_of(("road",), np.zeros((256, 3), np.uint8))
    assert legend == b"id,name,red,green,blue\n0,road,0,0,0\n"
    place = tmp_path / "in"
    for name in ("out/deep", "sheet", "longer", "folder"):
        (place / name).mkdir(parents=True)
        photo(4, 4).save(place / name / "a.png")
    (place / "folder/none").mkdir()
    for name in ("out", "folder/none"):
        write_legend(legend, place / name / "classes.csv")
    (place / "sheet/classes.csv").write_bytes(legend.replace(b"\n", b"\r\n"))
    (place / "longer/classes.csv").write_bytes(legend.replace(b"\n", b",alpha\n"))
    (place / "folder/classes.csv").mkdir()
    assert [*list_images([place / "folder"])] == ["a"] and not capsys.readouterr().err
    assert [*list_images([place])] == ["folder/a", "longer/a"]
    told = f"(classes.csv is theirs): {place}/folder/none, {place}/out, {place}/sheet\n"
    assert capsys.readouterr().err.endswith(told)
    for name in ("folder", "longer"):
        (place / name / "a.png").unlink()
    with pytest.raises(StvmError, match=rf"no image in {place}: "):
        list_images([place])
    before = (place / "out/classes.csv").stat()
    write_legend(legend, place / "out/classes.csv")
    assert (place / "out/classes.csv").stat() == before, "not written again"
    with pytest.raises(StvmError, match="is not of these classes"):
        write_legend(legend, place / "longer/classes.csv")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["{w}", "{d}/nowhere", "--out", "{d}/o"], "no image and no folder"),
        (["{w}", "{d}/gone", "--out", "{d}/o"], "it is a link to "),
        (["{w}", "{d}/a.png", "--out", "{d}/gone"], "which is not there"),
        (["{w}", "{d}/empty", "--out", "{d}/o"], "no image in"),
        (
            ["{w}", "{d}/a.png", "{d}/sub/a.png", "--out", "{d}/o"],
            "{d}/a.png and {d}/sub/a.png would",
        ),
        (["{d}/none.pth", "{d}/a.png", "--out", "{d}/o"], "no file"),
        (["abcdef", "{d}/a.png", "--out", "{d}/o", "--results", "{d}/none"], "no results folder"),
        (["{w}", "{d}/a.png", "--out", "{d}/o", "--height", "3"], "at least 16 pixels"),
        (["{w}", "{d}/text.png", "--out", "{d}/o"], "text.png"),
        (["{w}", "{d}/sub", "--out", "{d}/sub"], "sub, whose images are read"),
        (["{w}", "{d}/a.png", "{d}/sub", "--out", "{d}/sub/deep/o"], "sub, whose images are read"),
        (["{w}", "{d}/a.png", "--out", "{d}/a.png"], "a.png is a file; name a folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "sub" / "a.png"):
        photo(20, 20).save(path)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "gone").symlink_to("elsewhere")
    weights = tmp_path / "w.safetensors"
    save_network(build_network("small_deeplab", 16, 3), weights, ("road", "walk", "sky"))
    filled = [a.format(d=tmp_path, w=weights) for a in arguments]
    assert main(["predict", *filled]) == 2
    told = capsys.readouterr()
    error = told.err.strip()
    assert said.format(d=tmp_path) in error and len(error.splitlines()) == 1 and not told.out
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_a_trial_without_network_names_the_command_that_makes_it(
    recorded: Path, with_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(recorded, results)
    name = tiny().hash()
    photo(40, 30).save(tmp_path / "a.png")
    given = ["predict", name, str(tmp_path / "a.png"), "--results", str(results)]
    assert main([*given, "--out", str(tmp_path / "o")]) == 2
    assert f"replay {name} --keep-model" in capsys.readouterr().err
    again = ["replay", name, "--keep-model", "--results", str(results)]
    assert main([*again, "--cache", str(with_source)]) == 0
    said = capsys.readouterr().out
    assert "equal to the bit" in said and str(Path("models") / f"{name}.safetensors") in said
    assert main([*given, "--out", str(tmp_path / "o")]) == 0
    assert (tmp_path / "o" / "a_reliability.png").is_file()
