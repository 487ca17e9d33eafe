"""Protocols: sizes, corners, scales, class sets; against torch, sklearn and cityscapesscripts."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import jaccard_score
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import resize

from stvm.data import batches
from stvm.data.batches import batch_size
from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SYNTHIA, subset_means
from stvm.data.images import LabelledImages
from stvm.data.streets.street_images import LabelledArrays
from stvm.errors import StvmError
from stvm.evaluation.evaluate import evaluate, labelled_batches, multi_scale_scores
from stvm.evaluation.miou import confusion_matrix, score
from stvm.networks import SegmentationNetwork, build_network
from stvm.settings import Settings
from stvm.settings.evaluation_settings import ProtocolName
from stvm.settings.protocols import IMAGE, PROTOCOLS, Protocol, find_protocol
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' ids of the 19 classes, from Cordts et al.'s table of labels."""


def network(classes: int = 19) -> SegmentationNetwork:
    """A network with random weights, which predicts many classes."""
    torch.manual_seed(0)
    made = build_network("small_deeplab", 16, classes).eval()
    with torch.no_grad():
        made.classifier.branches[0].weight *= 20  # type: ignore[union-attr, index, operator]
    return made


def images(
    count: int = 3, height: int = 32, width: int = 64, scale: int = 2, classes: int = 19
) -> LabelledArrays:
    """Noise with labels in blocks, `scale` times as large; every class occurs, and 255."""
    rng = np.random.default_rng(2)
    shape = (count, height * scale // 4, width * scale // 4)
    blocks = rng.integers(0, classes + 1, shape, dtype=np.uint8)
    blocks[0, 0, : classes + 1] = np.arange(classes + 1)
    blocks[blocks == classes] = 255
    noise = rng.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return LabelledArrays(noise.repeat(8, 1).repeat(8, 2), blocks.repeat(4, 1).repeat(4, 2))


def pixels_of(data: LabelledImages, index: int) -> Tensor:
    return torch.from_numpy(data.image(index)).permute(2, 0, 1)[None].float() / 255


def predicted(model: SegmentationNetwork, data: LabelledImages, corners: bool) -> NDArray[Any]:
    """Classes (N, H', W') by torch's interpolation of each image's logits."""
    found = []
    for i in range(len(data)):
        with torch.no_grad():
            logits = model.logits(pixels_of(data, i))
        size = data.label(i).shape
        full = F.interpolate(logits, size=size, mode="bilinear", align_corners=corners)
        found.append(full.argmax(1)[0].numpy())
    return np.stack(found)


def test_the_settings_know_every_protocol() -> None:
    assert get_args(ProtocolName) == tuple(PROTOCOLS)
    assert Settings().evaluation.protocol == IMAGE.name
    assert all(p.name == name and p.about.endswith(".") for name, p in PROTOCOLS.items())
    with pytest.raises(StvmError, match="did you mean 'daformer'"):
        find_protocol("daforme")


def test_sizes_are_those_of_the_codes_and_of_the_trial_where_none_is_given() -> None:
    full = find_protocol("adaptsegnet")
    assert full.sizes(88, 120) == ((512, 1024), (1024, 2048)) and full.align_corners
    assert IMAGE.sizes(88, 120) == ((88, 120), (88, 120)) and not IMAGE.resizes
    assert find_protocol("maxsquare").sizes(1, 1) == ((512, 1024), (512, 1024))
    assert not find_protocol("daformer").align_corners
    assert find_protocol("dtst").sizes(1, 1)[0] == (768, 1536)


@pytest.mark.parametrize("corners", [True, False])
def test_logits_are_enlarged_at_once_to_the_labels_with_and_without_aligned_corners(
    corners: bool,
) -> None:
    model, data = network(), images()
    protocol = Protocol("own", "", label_size=(64, 128), align_corners=corners)
    found = evaluate(model, data, 19, CPU, protocol)
    labels = np.stack([data.label(i) for i in range(len(data))])
    known, classes = labels != 255, predicted(model, data, corners)
    expected = jaccard_score(labels[known], classes[known], average=None, labels=range(19))
    np.testing.assert_allclose(found.iou, expected, atol=1e-12)
    other = evaluate(model, data, 19, CPU, Protocol("own", "", align_corners=not corners))
    assert other.miou != found.miou and len(np.unique(classes)) > 8


def slow_scores(model: SegmentationNetwork, pixels: Tensor, protocol: Protocol) -> NDArray[Any]:
    """The sum over the views, one by one: resized, mirrored, enlarged, mirrored back, softmax."""
    total = np.zeros((19, 64, 128))
    for scale in protocol.scales:
        size = [round(scale * pixels.shape[-2]), round(scale * pixels.shape[-1])]
        for mirrored in [False, True] if protocol.flip else [False]:
            view = resize(pixels, size, antialias=True)
            view = torch.flip(view, [3]) if mirrored else view
            with torch.no_grad():
                logits = F.interpolate(
                    model.logits(view),
                    (64, 128),
                    mode="bilinear",
                    align_corners=protocol.align_corners,
                )[0].numpy()
            logits = logits[:, :, ::-1] if mirrored else logits
            total += softmax(logits, axis=0)
    return total


@pytest.mark.parametrize("name", ["adaptsegnet", "dtst"])
@pytest.mark.parametrize("flip", [True, False])
def test_multi_scale_testing_equals_a_slow_sum_over_its_views(name: str, flip: bool) -> None:
    model, data = network(), images()
    given = find_protocol(name)
    protocol = Protocol("own", "", None, None, given.align_corners, given.scales, flip)
    total = torch.zeros(19, 19, dtype=torch.long)
    for i in range(len(data)):
        slow = slow_scores(model, pixels_of(data, i), protocol)
        with torch.no_grad():
            quick = multi_scale_scores(model, pixels_of(data, i), (64, 128), protocol)[0]
        np.testing.assert_allclose(quick.numpy(), slow, atol=2e-4)
        assert quick.sum(0).mean() == pytest.approx(len(protocol.scales) * (1 + flip), abs=1e-4)
        labels = torch.from_numpy(data.label(i))
        total += confusion_matrix(labels, torch.from_numpy(slow.argmax(0)), 19)
    found = evaluate(model, data, 19, CPU, protocol, multi_scale=True)
    assert found.miou == pytest.approx(score(total).miou, abs=1e-3)
    assert found.miou != evaluate(model, data, 19, CPU, protocol).miou


def test_the_means_over_16_and_13_classes_are_scikit_learns_of_the_same_pixels() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 19, 20_000)
    classes = np.where(rng.random(20_000) < 0.5, labels, rng.integers(0, 19, 20_000))
    counts = confusion_matrix(torch.from_numpy(labels), torch.from_numpy(classes), 19)
    means = subset_means(score(counts).iou, CITYSCAPES)
    ids_16 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    ids_13 = [0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
    for key, ids in (("16", ids_16), ("13", ids_13)):
        expected = jaccard_score(labels, classes, labels=ids, average="macro")
        assert means[key] == pytest.approx(expected, abs=1e-12)
    assert [CITYSCAPES.index(name) for name in SYNTHIA] == ids_16
    assert [CITYSCAPES.index(name) for name in CROSS_CITY] == ids_13


def test_a_mean_leaves_out_what_has_no_iou_and_needs_more_classes_than_its_own() -> None:
    iou = [None, *(0.5 for _ in SYNTHIA[1:])]
    assert subset_means(iou, SYNTHIA) == {"13": pytest.approx(0.5)}
    assert subset_means([0.1] * 13, CROSS_CITY) == {}
    assert subset_means([0.1, 0.2], ["road", "sky"]) == {}


def test_a_class_without_label_has_no_iou_even_where_it_is_predicted() -> None:
    counts = confusion_matrix(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 1, 1]), 3)
    found = score(counts)
    assert found.iou == [0.5, 1.0, None] and found.miou == pytest.approx(0.75)
    assert found.pixel_accuracy == 0.75


def by_cityscapesscripts(folder: Path, labels: NDArray[Any], classes: NDArray[Any]) -> Any:
    """The result of Cityscapes' own evaluation for these maps."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    to_id = np.zeros(256, np.uint8)
    to_id[: len(LABEL_IDS)] = LABEL_IDS
    to_id[255] = 4
    paths: dict[str, list[str]] = {"predictions": [], "labels": []}
    for name, maps in (("predictions", classes), ("labels", labels)):
        for number, one in enumerate(maps):
            path = folder / f"{name}_{number:06d}_000000_gtFine_labelIds.png"
            Image.fromarray(to_id[one]).save(path)
            paths[name].append(str(path))
    evaluation.args.evalInstLevelScore = False
    evaluation.args.JSONOutput = False
    evaluation.args.quiet = True
    return evaluation.evaluateImgLists(paths["predictions"], paths["labels"], evaluation.args)


def test_miou_equals_cityscapesscripts_on_the_same_predictions(tmp_path: Path) -> None:
    model, data = network(), images()
    protocol = Protocol("own", "", align_corners=True)
    found = evaluate(model, data, 19, CPU, protocol)
    labels = np.stack([data.label(i) for i in range(len(data))])
    theirs = by_cityscapesscripts(tmp_path, labels, predicted(model, data, corners=True))
    assert set(np.unique(labels)) == {*range(19), 255}
    assert found.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
    for name, value in zip(CITYSCAPES, found.iou, strict=True):
        assert value == pytest.approx(theirs["classScores"][name], abs=1e-9)


def test_cityscapesscripts_counts_a_predicted_class_without_label_as_0(tmp_path: Path) -> None:
    labels, classes = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    classes[0, 0, 0] = 13
    theirs = by_cityscapesscripts(tmp_path, labels, classes)
    ours = score(confusion_matrix(*map(torch.from_numpy, (labels, classes)), 19))
    assert theirs["averageScoreClasses"] == pytest.approx(ours.miou / 2) and ours.iou[13] is None


def test_as_many_images_a_pass_as_pixels_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [batch_size(n) for n in (64 * 128, 360 * 480, 512 * 1024, 1024 * 2048, 2**24)] == [
        *(8, 8, 4, 1, 1)
    ]
    model, data = network(), images(5)
    whole = evaluate(model, data, 19, CPU)
    assert [len(labels) for _, labels in labelled_batches(data, CPU)] == [5]
    monkeypatch.setattr(batches, "PIXELS", 2 * 64 * 128)
    assert [len(labels) for _, labels in labelled_batches(data, CPU)] == [2, 2, 1]
    assert evaluate(model, data, 19, CPU) == whole


def test_the_embedded_benchmark_refuses_the_sizes_of_cityscapes() -> None:
    with pytest.raises(StvmError, match="protocol=adaptsegnet is for targets of 2048x1024"):
        tiny(protocol="adaptsegnet")
    folder = {"dataset": "folder", "source_root": "a", "target_root": "b", "classes": "road,sky"}
    assert tiny(protocol="adaptsegnet", **folder).evaluation.protocol == "adaptsegnet"
