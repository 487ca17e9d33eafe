"""The folder of one adaptation to a user's own images: whose it is, and what lies in it.

settings.json       settings, digests, versions, seconds, and what changed
curve.json          values of the training by iteration
model.safetensors   adapted network
metric.safetensors  metric network, from which `predict` reads the reliability
classes.csv         ids, names and colours of the classes
labels/NAME.png     predicted class ids of each image
before_after.png    picture of some images
.work/              saved state, lock, and digests of the images
"""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.commands.class_legend import LEGEND, holds_predictions
from stvm.errors import StvmError
from stvm.files import SCHEMA, find_json, read_json, refuse_unwritable, write_json
from stvm.settings import field_of

MODEL = "model.safetensors"
LABELS = "labels"
DIGESTS = {"images_sha256": "images", "checkpoint_sha256": "checkpoint"}
"""Digests that make an adaptation another one, and what they are of."""

_OTHER = "name another folder with --out"


def refuse_predictions(photos: Path) -> None:
    """Refuse predictions where photos are asked for.

    Args:
        photos: a folder; label maps in a folder below the legend count too.

    Raises:
        StvmError: `predict` or `adapt` wrote to it.
    """
    whole = photos.resolve()
    above: Iterable[Path] = ()
    if whole.name == LABELS or any(whole.glob("*_labels.png")):
        above = whole.parents
    theirs = next((folder for folder in (photos, *above) if holds_predictions(folder)), None)
    if theirs:
        raise StvmError(
            f"{photos}: predictions lie there ({theirs / LEGEND} is theirs), and pictures of "
            "classes are no photos: name the folder of the photos"
        )


@dataclass(frozen=True)
class AdaptationFolder:
    """The folder of one adaptation.

    Attributes:
        root: path of the folder.
    """

    root: Path

    @property
    def model(self) -> Path:
        """File of the adapted network."""
        return self.root / MODEL

    @property
    def metric(self) -> Path:
        """File of the metric network."""
        return self.root / "metric.safetensors"

    @property
    def labels(self) -> Path:
        """Folder of the predicted class ids."""
        return self.root / LABELS

    @property
    def picture(self) -> Path:
        """File of the picture of before and after."""
        return self.root / "before_after.png"

    @property
    def legend(self) -> Path:
        """File of the classes."""
        return self.root / LEGEND

    @property
    def work(self) -> Path:
        """Folder of what only this command reads."""
        return self.root / ".work"

    @property
    def _settings(self) -> Path:
        return self.root / "settings.json"

    @property
    def is_begun(self) -> bool:
        """Whether an adaptation was begun in it."""
        return self._settings.is_file()

    def open(self) -> None:
        """Make the folder, and check that it can be written to and holds nothing else.

        Raises:
            StvmError: it is a file, cannot be written to, or holds other files.
        """
        if self.root.is_dir() and not self.is_begun:
            others = sorted(p.name for p in self.root.iterdir() if p.name != self.work.name)
            if others:
                raise StvmError(
                    f"--out {self.root} holds other files ({others[0]}) and no adaptation: {_OTHER}"
                )
        refuse_unwritable(self.root, "--out")

    def drop_unbegun(self, made: bool) -> None:
        """Remove what lies here if no adaptation was begun.

        Args:
            made: whether this run made the folder, so that it goes too.
        """
        if self.is_begun:
            return
        shutil.rmtree(self.work, ignore_errors=True)
        if made:
            # What another program wrote meanwhile stays.
            with suppress(OSError):
                self.root.rmdir()

    def found(self) -> dict[str, Any] | None:
        """Facts about the adaptation that the folder holds; None if it holds none.

        Raises:
            StvmError: they cannot be read.
        """
        return find_json(self._settings)

    def height(self) -> int:
        """Height in pixels at which the adapted network saw the images.

        Raises:
            StvmError: it cannot be read.
        """
        try:
            return int(read_json(self._settings)["height"])
        except (KeyError, TypeError, ValueError) as error:
            raise StvmError(f"{self._settings}: no height that can be read ({error})") from None

    def refuse_other(self, facts: Mapping[str, Any]) -> None:
        """Refuse a folder that holds another adaptation than that of these facts.

        Raises:
            StvmError: there is another; the message names the first difference.
        """
        kept = self.found()
        if kept is None:
            return
        where = f"--out {self.root} holds another adaptation"
        for name, what in DIGESTS.items():
            if kept.get(name) != facts[name]:
                raise StvmError(f"{where}, of other {what}: {_OTHER}")
        # Before the settings: crops are whole images, and --height was what changed them.
        for name in ("height", "width"):
            if kept.get(name) != facts[name]:
                raise StvmError(
                    f"{where}, at {name} {kept.get(name)} and not {facts[name]}: {_OTHER}"
                )
        theirs, ours = kept.get("settings", {}), facts["settings"]
        for name in sorted({*theirs, *ours}):
            # A setting of a later version stands in one of them alone.
            values = [one[name] if name in one else _default(name) for one in (theirs, ours)]
            if values[0] != values[1]:
                raise StvmError(
                    f"{where}, with {name}={values[0]} and not {values[1]}: {_OTHER}, or give "
                    "its settings to go on with it"
                )

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write what the adaptation is and, at its end, what came of it.

        Raises:
            StvmError: no space, no permission.
        """
        write_json(self._settings, {"schema": SCHEMA, **facts})

    def write_curve(self, values: Mapping[str, Any]) -> None:
        """Write the values of the training by iteration.

        Raises:
            StvmError: no space, no permission.
        """
        write_json(self.root / "curve.json", {"schema": SCHEMA, **values})


def _default(name: str) -> Any:
    try:
        return field_of(name).default
    except StvmError:
        return None
