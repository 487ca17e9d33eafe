"""What an opened data set carries: names and colours of its classes, ignored id, protocol."""

from pathlib import Path

import numpy as np
from PIL import Image

from stvm.data.datasets import open_source, open_target_images, open_target_labelled
from stvm.data.images import EvenSubset
from stvm.data.labelling import Labelling
from stvm.evaluation.trial_evaluator import open_evaluation_images
from tests.helpers.tiny_settings import tiny

OWN = Labelling(("mud", "person", "sand"))
"""A person has a colour in Cityscapes; another class i is (37 i, 91 i, 153 i) mod 256."""


def write_folder(root: Path) -> Path:
    for split in ("train", "val", "test"):
        for kind, array in (("images", np.zeros((8, 8, 3))), ("labels", np.zeros((8, 8)))):
            (root / split / kind).mkdir(parents=True)
            for name in "abc":
                place = root / split / kind / f"{name}.png"
                Image.fromarray(array.astype(np.uint8)).save(place)
    return root


def test_a_class_has_the_colour_of_cityscapes_or_one_of_its_own() -> None:
    assert OWN.num_classes == 3 and OWN.ignore_index == 255
    assert OWN.colours == [(0, 0, 0), (220, 20, 60), (74, 182, 50)]


def test_each_way_to_open_a_folder_carries_its_class_list(tmp_path: Path) -> None:
    root = str(write_folder(tmp_path / "made"))
    own = {"dataset": "folder", "source_root": root, "target_root": root}
    settings = tiny(classes="3:mud,0:person,7:sand", **own)
    opened = [
        open_source(settings.data, "train", tmp_path),
        open_target_images(settings.data, tmp_path),
        open_target_labelled(settings.data, "val", tmp_path),
        open_target_labelled(settings.data, "val", tmp_path, (8, 8), (16, 16)),
        open_evaluation_images(settings, tmp_path),
    ]
    assert [images.labelling for images in opened] == [OWN] * 5
    # Id 0 of the files is the second class of the list.
    assert opened[3].label(2).tolist() == [[1] * 16] * 16  # type: ignore[attr-defined]
    assert opened[3].image(2).shape == (8, 8, 3)


def test_labels_have_the_size_of_the_images_unless_they_have_one_of_their_own(
    tmp_path: Path,
) -> None:
    root = str(write_folder(tmp_path / "made"))
    own = {"dataset": "folder", "source_root": root, "target_root": root, "classes": "mud"}
    data = tiny(height=48, width=40, **own).data
    for sizes, image, label in (
        ((), (48, 40), (48, 40)),
        (((32, 64),), (32, 64), (32, 64)),
        (((32, 64), (8, 8)), (32, 64), (8, 8)),
        ((None, (8, 8)), (48, 40), (8, 8)),
    ):
        opened = open_target_labelled(data, "val", tmp_path, *sizes)
        assert (opened.image(0).shape, opened.label(0).shape) == ((*image, 3), label)


def test_the_embedded_benchmark_carries_the_19_classes(tmp_path: Path) -> None:
    data = tiny(source_images=2, target_images=2, eval_images=5).data
    held_out = open_source(data, "val", tmp_path)
    for images in (held_out, EvenSubset(held_out, 2), open_target_images(data, tmp_path)):
        names, colours = images.labelling.class_names, images.labelling.colours
        assert len(names) == images.labelling.num_classes == 19
        assert (names[0], names[13], names[18]) == ("road", "car", "bicycle")
        assert (colours[0], colours[13]) == ((128, 64, 128), (0, 0, 142))


def test_images_opened_for_evaluation_know_their_protocol(tmp_path: Path) -> None:
    root = str(write_folder(tmp_path / "made"))
    own = {"dataset": "folder", "source_root": root, "target_root": root, "classes": "mud"}
    images = open_evaluation_images(tiny(protocol="maxsquare", **own), tmp_path)
    assert images.protocol.name == "maxsquare"
    assert images.image(0).shape == (512, 1024, 3) and images.label(0).shape == (512, 1024)
