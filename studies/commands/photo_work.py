"""The work of `python -m studies adapt`: from a folder of images to the folder of the result."""

import argparse
import io
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from studies.commands.adapt import own_settings
from studies.commands.adaptation_folder import AdaptationFolder, refuse_predictions
from studies.commands.before_after import Shown, write_before_after
from studies.commands.class_legend import legend_of, write_legend
from studies.commands.lookup import own_network
from studies.commands.predict import default_names
from studies.commands.progress_line import ProgressLine
from stvm import __version__
from stvm.data.image_files import read_rgb, read_size
from stvm.data.images import evenly_spaced
from stvm.data.inspection import Files, check_contents
from stvm.data.labelling import colours_of
from stvm.data.listed_images import ListedImages, left_out
from stvm.data.photo_folder import adaptation_size, photo_paths, photos_sha256
from stvm.errors import StvmError
from stvm.files import now, refuse_within, write_whole
from stvm.networks import SegmentationNetwork, find_network
from stvm.pretrained import Checkpoint, open_checkpoint, save_network
from stvm.settings import Settings, digest, group_of
from stvm.settings.naming import NOT_NAMED
from stvm.source_model.loading import source_facts
from stvm.training.device import computing
from stvm.training.resume import TrainingCheckpoint
from stvm.training.stopping import StoppableProgress, stoppable
from stvm.trial.inputs import refuse_unfit
from stvm.trial.metric_network_files import save_metric
from stvm.trial.photo_adaptation import PhotoOutcome, adapt_to_photos
from stvm.trial.predictor import Predictor
from stvm.trial.tried_passes import try_shapes

SHOWN_IMAGES = 4
SAVE_EVERY_S = 60.0
"""Least seconds between two saved states; `TrainingCheckpoint` saves the state of a large network
less often."""
_STRETCHED = 1.05
"""Least ratio of two shapes that counts as a difference."""


@dataclass
class PhotoWork:
    """A network and images that it is to be adapted to.

    Attributes:
        paths: image files.
        checkpoint: file of the source model.
        network: source model, in eval mode on the device.
        names: names of its classes.
        settings: settings of the adaptation.
        line: progress, for people.
        told: progress of the training; None before it.
        state: place of the training's saved state; None before it.
        clock: seconds at the start.
    """

    paths: list[Path]
    checkpoint: Checkpoint
    network: SegmentationNetwork
    names: tuple[str, ...]
    settings: Settings
    line: ProgressLine = field(default_factory=lambda: ProgressLine("iteration"))
    told: StoppableProgress | None = None
    state: TrainingCheckpoint | None = None
    clock: float = field(default_factory=time.perf_counter)

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.network.parameters()).device

    def lines(self) -> list[str]:
        """The network, the images and their size, for people."""
        data = self.settings.data
        shape = data.width / data.height
        ratios = [width / height / shape for width, height in map(read_size, self.paths)]
        other = sum(max(ratio, 1 / ratio) > _STRETCHED for ratio in ratios)
        stretched = f"; those of another shape are stretched to it: {other}" if other else ""
        return [
            f"{self.checkpoint.found.path}: {self.checkpoint.line()}",
            f"{len(self.paths)} images, each resized to {data.width}x{data.height} (width x "
            f"height) for the adaptation{stretched}; --height and --width set another size",
            *filter(None, (left_out(self.paths[0].parent), self._first())),
        ]

    def _first(self) -> str:
        share = self.settings.method.start_bn
        told = f"start_bn={share:g}: the network first sees every image once, without training"
        return told if share else ""

    def check_images(self, folder: AdaptationFolder) -> None:
        """Look for files that cannot be read.

        Raises:
            StvmError: there is one.
        """
        check_contents([Files("photos", "images", tuple(self.paths))], folder.work)

    def facts(self, folder: AdaptationFolder) -> dict[str, Any]:
        """What the adaptation is, as settings.json has it."""
        found, data, flat = source_facts(self.checkpoint), self.settings.data, {}
        for name, value in self.settings.canonical().flat().items():
            if group_of(name) in ("network", "method", "training", "compute"):
                flat[name] = value
        flat["checkpoint_family"] = self.settings.source.checkpoint_family
        left_out = (*NOT_NAMED, "eval_split")
        return {
            "photos": str(self.paths[0].parent),
            "images": len(self.paths),
            "images_sha256": photos_sha256(self.paths, folder.work),
            "checkpoint": str(self.checkpoint.found.path),
            "checkpoint_sha256": found.pop("sha256"),
            "source_model": found,
            "classes": list(self.names),
            **{"height": data.height, "width": data.width},
            "settings": {name: flat[name] for name in sorted(flat) if name not in left_out},
            **{"stvm": __version__, "torch": str(torch.__version__)},
            **{"python": platform.python_version(), "device": self.device.type},
            **{"threads": torch.get_num_threads(), "begun": now()},
        }

    def train(self, folder: AdaptationFolder, facts: dict[str, Any]) -> PhotoOutcome:
        """Adapt, from the start or from the saved state.

        Raises:
            KeyboardInterrupt: stopped by the user; the state is saved.
        """
        identity = {
            "settings": digest(facts["settings"] | {"at": [facts["height"], facts["width"]]})
        }
        identity |= {name: facts[name] for name in ("images_sha256", "checkpoint_sha256")}
        path = folder.work / "training.state"
        self.state = TrainingCheckpoint(path, identity, SAVE_EVERY_S)
        images = ListedImages(self.paths, facts["height"], facts["width"])
        with (
            computing(self.settings.compute, self.device),
            stoppable(self.line, self.state) as self.told,
        ):
            return adapt_to_photos(self.settings, self.network, images, self.told, self.state)

    def interrupted(self) -> str:
        """How far it was when it was stopped, and how to go on."""
        self.line.end()
        at = self.told.last if self.told else 0
        where = f" after iteration {at} of {self.settings.training.iterations}" if at else ""
        saved = self.state is not None and self.state.path.exists()
        how = "goes on from the last saved state" if saved else "begins again, as no state is saved"
        return f"interrupted{where}: the same command {how}"

    def finish(
        self, folder: AdaptationFolder, outcome: PhotoOutcome, facts: dict[str, Any]
    ) -> dict[str, Any]:
        """Write the networks, the predictions and the facts; the facts.

        Raises:
            StvmError: no space, no permission, or images that changed meanwhile.
        """
        if photos_sha256(self.paths, folder.work) != facts["images_sha256"]:
            raise StvmError(
                f"{self.paths[0].parent}: images changed while they were adapted to; name another "
                "folder with --out and run again"
            )
        family = str(facts["source_model"].get("origin", self.checkpoint.family))
        save_network(outcome.network, folder.model, self.names, family)
        save_metric(outcome.adaptation, outcome.network, self.settings.method, folder.metric)
        self._write_labels(folder, outcome.network)
        log, resumed = outcome.log, self.state.resumed if self.state else {}
        values = {"curve": log.curve, "watch": log.watch}
        folder.write_curve(values | {"banked": log.banked if self.settings.method.mocm else None})
        facts = facts | {"result": outcome.facts(), "finished": now()}
        facts |= {"seconds": round(time.perf_counter() - self.clock, 2)}
        facts |= {"resumed_from": resumed["iteration"]} if resumed else {}
        folder.write_facts(facts)
        if self.state:
            self.state.drop()
        return facts

    def _write_labels(self, folder: AdaptationFolder, network: SegmentationNetwork) -> None:
        """Label maps of all images, the legend, and the picture of some of them."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.names)] = colours_of(self.names)
        write_legend(legend_of(self.names, palette), folder.legend)
        height = self.settings.data.height
        after, before = Predictor(network, height), Predictor(self.network, height)
        chosen, shown = set(evenly_spaced(len(self.paths), SHOWN_IMAGES)), []
        told = ProgressLine("labelled image")
        for number, path in enumerate(self.paths):
            image = read_rgb(path)
            labels = after(image).labels
            content = io.BytesIO()
            Image.fromarray(labels).save(content, "PNG")
            write_whole(folder.labels / f"{path.stem}.png", content.getbuffer())
            if number in chosen:
                shown.append(Shown(image, before(image).labels, labels))
            told(number + 1, len(self.paths))
        write_before_after(shown, self.names, palette, folder.picture)


def prepare(options: argparse.Namespace, changes: dict[str, str]) -> PhotoWork:
    """Look at images, checkpoint and settings before anything is written.

    Args:
        options: options of the command.
        changes: settings of the command line.

    Raises:
        StvmError: one is missing, cannot be used or does not fit.
    """
    paths = photo_paths(options.photos)
    # What was begun below PHOTOS goes on: no folder below it is read here.
    if not AdaptationFolder(options.out).is_begun:
        refuse_within(options.out, "--out", [options.photos])
        refuse_predictions(options.photos)
    reading = {
        name: changes[name] for name in ("checkpoint_family", "aspp_branches") if name in changes
    }
    asked = Settings().replace(**{"network": "deeplabv2_resnet101"} | reading)
    checkpoint = open_checkpoint(
        options.checkpoint,
        asked.source.checkpoint_family,
        asked.network.aspp_branches,
        own_network(options.network, "", options.out or Path()),
    )
    network = checkpoint.build()
    settings = own_settings(changes, **_fixed(options, network, paths[0]))
    # Another copy: it is tried in training.
    refuse_unfit(settings, checkpoint.build(), changes)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise StvmError("torch finds no GPU here: leave out --device, or set --device cpu")
    network = network.to(device)
    try_shapes(network, Predictor(network, settings.data.height).input_size, paths)
    names = checkpoint.class_names or default_names(
        network.architecture.num_classes, checkpoint.family
    )
    return PhotoWork(paths, checkpoint, network, names, settings)


def _fixed(
    options: argparse.Namespace, network: SegmentationNetwork, first: Path
) -> dict[str, object]:
    """Settings that the checkpoint and the size of the images decide."""
    described = network.architecture
    facts = find_network(described.network)
    wide, high = read_size(first)
    height, width = adaptation_size((high, wide), options.height, options.width)
    fixed: dict[str, object] = {
        **{"source_checkpoint": str(options.checkpoint), "network": described.network},
        **{"height": height, "width": width, "crop_height": height, "crop_width": width},
    }
    own = {
        "channels": (facts.channels, described.channels),
        "aspp_branches": (facts.aspp_branches, described.aspp_branches),
        "network_width": (facts.width, described.width),
        "output_stride": (facts.output_stride, described.output_stride),
        "network_content": (bool(facts.files), described.content),
    }
    return fixed | {name: value for name, (counts, value) in own.items() if counts}
