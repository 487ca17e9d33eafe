"""Predictions of a network for your own images: labels, colours, overlay, reliability.

MODEL is the HASH of a trial run with keep_model=true (a study's `--list` shows hashes; the demo
keeps its networks), a folder that `adapt` wrote, or a file of weights. For each image NAME the
folder --out gets NAME_labels.png (class ids, 8 bits), NAME_colours.png, NAME_overlay.png (beside
the image) and, where there is a metric network, NAME_reliability.png (white: reliable); and
classes.csv, once.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from studies.arguments import DEVICES, one_of
from studies.commands.adaptation_folder import AdaptationFolder
from studies.commands.class_legend import LEGEND, legend_of, refuse_other_legend, write_legend
from studies.commands.images_to_predict import list_images
from studies.commands.lookup import (
    add_network_option,
    find_network,
    open_results,
    own_network,
    settings_of,
)
from stvm.errors import StvmError
from stvm.files import refuse_file, refuse_within, write_whole

if TYPE_CHECKING:
    from stvm.records.result_schema import Result
    from stvm.trial.predictor import Prediction, Predictor

KINDS = ("labels", "colours", "overlay", "reliability")
_GAP = 4
_NAMED = 3
"""Most images that cannot be read and are named; the others are predicted all the same."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="HASH-or-DIR-or-FILE")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE-or-FOLDER")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the predictions")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of the records, for a HASH (results)",
    )
    parser.add_argument(
        *("--height", "-H"),
        type=int,
        metavar="PIXELS",
        help="height at which the network sees an image; default: height of the images in the "
        "adaptation, or for a file of weights the height of the image",
    )
    parser.add_argument(
        "--multi-scale",
        action="store_true",
        help="sum of predictions at scales 0.75, 1, 1.25, each also mirrored",
    )
    parser.add_argument(
        "--mirrored",
        action="store_true",
        help="sum of predictions for the image and its mirror image",
    )
    parser.add_argument("--device", **one_of(DEVICES), help="device (a GPU if there is one)")
    parser.add_argument(
        "--family", default="auto", help="family of the checkpoint, if the file leaves it open"
    )
    parser.add_argument(
        "--aspp-branches", default="auto", help="two or four, if the file leaves it open"
    )
    add_network_option(parser)


def open_predictor(options: argparse.Namespace) -> "tuple[Predictor, tuple[str, ...]]":
    """The network that is named, how images enter it, and the names of its classes.

    Raises:
        StvmError: no such file or trial, no network kept, or weights that do not fit.
    """
    import torch

    from stvm.evaluation.class_mapping import ClassMapping
    from stvm.networks import assemble
    from stvm.pretrained import open_checkpoint
    from stvm.trial.metric_network_files import open_metric
    from stvm.trial.predictor import Predictor

    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise StvmError("torch finds no GPU here: leave out --device, or set --device cpu")
    path, name, height, metric, given = _files(options)
    own = own_network(options.network, name, options.results)
    checkpoint = open_checkpoint(path, options.family, options.aspp_branches, own)
    network = checkpoint.build().to(device)
    names = checkpoint.class_names or default_names(
        network.architecture.num_classes, checkpoint.family
    )
    reader = None
    if metric and metric.is_file():
        labeller = assemble(network.architecture, checkpoint.size)
        reader = open_metric(metric, network, labeller)
    chosen = height if options.height is None else options.height
    if chosen < 0 or 0 < chosen < 16:
        raise StvmError(f"--height {chosen}: at least 16 pixels, or 0 for the image's own size")
    mapping = None
    if given:
        names, facts = tuple(given["class_names"]), given["correspondence"]
        mapping = ClassMapping.from_facts(facts["target"], names, facts["unmatched"])
    views = (options.multi_scale, options.mirrored)
    return Predictor(network, chosen, *views, reader, mapping=mapping), names


def _files(options: argparse.Namespace) -> "tuple[Path, str, int, Path | None, Result | None]":
    """Weights, hash of the trial, height of its images (0 for a file's), its metric network's file.

    The last is the trial's result, if its network has other classes than its target.
    """
    path, name = find_network(options.model, options.results)
    if not name:
        adapted = AdaptationFolder(Path(options.model))
        if path != adapted.model:
            return path, "", 0, None, None
        return path, "", adapted.height(), adapted.metric, None
    results = open_results(options.results)
    record = results.read(name)
    assert record is not None
    settings = settings_of(record, anyway=True)
    mapped = record.result if record.result.get("correspondence") else None
    return path, name, settings.data.height, results.metric_path(name), mapped


def default_names(num_classes: int, family: str) -> tuple[str, ...]:
    """Names of the classes of a file of this family that does not name them."""
    from stvm.data.cityscapes import CROSS_CITY, SYNTHIA
    from stvm.data.usual_classes import USUAL, usual_set

    for known in (USUAL.get(usual_set(num_classes, family), ()), SYNTHIA, CROSS_CITY):
        if len(known) == num_classes:
            return known
    return tuple(f"class {number}" for number in range(num_classes))


def write_prediction(
    image: Image.Image, predicted: "Prediction", palette: np.ndarray[Any, Any], base: Path
) -> None:
    """The files of one image; `base` is their path without ending.

    Raises:
        StvmError: no space, no permission.
    """
    colours = palette[predicted.labels]
    mixed = (0.5 * np.asarray(image, np.float32) + 0.5 * colours).round().astype(np.uint8)
    gap = np.full((mixed.shape[0], _GAP, 3), 255, np.uint8)
    pictures = {
        "labels": predicted.labels,
        "colours": colours,
        "overlay": np.concatenate([np.asarray(image), gap, mixed], 1),
    }
    if predicted.reliability is not None:
        pictures["reliability"] = (255 * predicted.reliability).round().astype(np.uint8)
    for kind, pixels in pictures.items():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        path = base.with_name(f"{base.name}_{kind}.png")
        write_whole(path, content.getbuffer())


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    if options.out is None:
        raise StvmError("predict writes files: name their folder with --out DIR")
    refuse_file(options.out, "--out")
    refuse_within(options.out, "--out", options.images)
    images = list_images(options.images)
    for name, path in images.items():
        for target in (options.out / f"{name}_{kind}.png" for kind in KINDS):
            if target.exists():
                raise StvmError(
                    f"{target} exists and is not overwritten ({path}): name another folder with "
                    "--out"
                )
    # torch takes seconds to import, and --help needs none.
    from stvm.data.image_files import read_rgb
    from stvm.data.labelling import colours_of

    predictor, names = open_predictor(options)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(names)] = colours_of(names)
    legend = legend_of(names, palette)
    refuse_other_legend(legend, options.out / LEGEND)
    faults: list[str] = []
    for number, (name, path) in enumerate(images.items(), start=1):
        try:
            image = read_rgb(path)
        except StvmError as error:
            faults.append(str(error))
            continue
        predicted = predictor(image)
        write_legend(legend, options.out / LEGEND)
        write_prediction(image, predicted, palette, options.out / name)
        seen = f"{predicted.seen[1]}x{predicted.seen[0]}"
        print(f"{number} of {len(images)}: {path}, seen at {seen}", file=sys.stderr, flush=True)
    if done := len(images) - len(faults):
        what = "image" if done == 1 else "images"
        print(f"{done} {what} predicted into {options.out}; {LEGEND} names the ids")
    if faults:
        more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise StvmError("; ".join(faults[:_NAMED]) + more)
    return 0
