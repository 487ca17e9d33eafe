"""Parts of `python -m studies adapt`: what makes an adaptation another one, and its images."""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studies.commands.adaptation_folder import AdaptationFolder
from studies.commands.images_to_predict import list_images
from studies.commands.photo_work import PhotoWork, prepare
from stvm.data.photo_folder import photo_paths, photos_sha256
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import save_network

OWN_SIZE: dict[str, Any] = {"height": 0, "width": 0, "device": "cpu"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A first image, one of its shape, and seven that are wider for their height."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(9):
        size = (48, 64, 3) if number < 2 else (32, 48, 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "source.safetensors"
    torch.manual_seed(0)
    save_network(build_network("small_deeplab", 8, 3), path, ("road", "tree", "sky"))
    return path


def work_on(photos: Path, weights: Path, out: Path) -> PhotoWork:
    options = argparse.Namespace(
        photos=photos, checkpoint=weights, out=out, network=None, **OWN_SIZE
    )
    return prepare(options, {"iterations": "4", "n_f": "8"})


def test_images_that_are_wider_or_higher_are_both_of_another_shape(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    for number, size in enumerate(((32, 48), (65, 48))):
        Image.new("RGB", size).save(photos / f"q{number}.png")
    assert (
        "; those of another shape are stretched to it: 8"
        in work_on(photos, weights, tmp_path).lines()[1]
    )


def test_pictures_that_are_not_read_are_told(photos: Path, weights: Path, tmp_path: Path) -> None:
    assert not any("left out" in line for line in work_on(photos, weights, tmp_path).lines())
    for name in ("a.webp", "b.HEIC", ".hidden.tif"):
        (photos / name).write_bytes(b"x")
    lines = work_on(photos, weights, tmp_path).lines()
    assert lines[2] == (
        f"{photos}: 2 pictures are left out (a.webp), since only PNG and JPEG files are read: save "
        "as one of these"
    )
    alone = tmp_path / "alone"
    alone.mkdir()
    Image.new("RGB", (64, 48)).save(alone / "a.png")
    (alone / "b.tif").write_bytes(b"x")
    with pytest.raises(StvmError, match=r"only image .*save b\.tif and so on as PNG or JPEG"):
        photo_paths(alone)


def test_a_name_that_is_no_text_is_one_line(photos: Path) -> None:
    name = os.fsencode(photos) + b"/\xff\xe4.png"
    try:
        with open(name, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes only names that are text")
    with pytest.raises(
        StvmError, match=r"xff.*\.png: the file's name is not UTF-8; rename it"
    ) as told:
        photo_paths(photos)
    str(told.value).encode()
    with pytest.raises(StvmError, match="is not UTF-8; rename it"):
        list_images([photos])


def test_images_that_change_during_the_training_are_told(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    work, folder = work_on(photos, weights, tmp_path / "out"), AdaptationFolder(tmp_path / "out")
    facts = work.facts(folder)
    Image.new("RGB", (64, 48)).save(photos / "p1.png")
    outcome: Any = None
    with pytest.raises(StvmError, match="images changed while they were adapted to"):
        work.finish(folder, outcome, facts)
    assert not folder.model.exists()


def test_images_are_known_by_their_names_too(photos: Path, tmp_path: Path) -> None:
    paths = photo_paths(photos)
    before = photos_sha256(paths, tmp_path / "work")
    assert photos_sha256(photo_paths(photos), tmp_path / "work") == before
    paths[-1].rename(photos / "renamed.png")
    moved = photo_paths(photos)
    assert len(moved) == len(paths) and photos_sha256(moved, tmp_path / "work") != before


def test_a_setting_of_a_later_version_was_at_its_default(tmp_path: Path) -> None:
    folder = AdaptationFolder(tmp_path)
    facts: dict[str, Any] = {"images_sha256": "a", "checkpoint_sha256": "b"}
    facts |= {"height": 32, "width": 48, "settings": {"lr": 0.1}}
    folder.write_facts(facts)
    folder.refuse_other(facts | {"settings": {"lr": 0.1, "label_views": "single"}})
    later = {"lr": 0.1, "label_views": "mirrored"}
    with pytest.raises(StvmError, match="with label_views=single and not mirrored"):
        folder.refuse_other(facts | {"settings": later})
