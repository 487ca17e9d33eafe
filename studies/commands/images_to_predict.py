"""Images that `predict` labels: files that are named, and all in folders but predictions."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from studies.commands.class_legend import LEGEND, holds_predictions
from stvm.data.image_names import IMAGE_SUFFIXES, ending_of
from stvm.data.path_hints import refuse_no_text, why_no_folder
from stvm.errors import StvmError


def list_images(given: Sequence[Path]) -> dict[str, Path]:
    """Name below --out to image file, of the files and of all images in the folders.

    Folders below these that hold predictions are left out, and named on stderr.

    Raises:
        StvmError: nothing there, no image in a folder, or two images of one name.
    """
    named: dict[str, Path] = {}
    for path in given:
        for name, image in _images_of(path):
            if name in named:
                raise StvmError(
                    f"{named[name]} and {image} would both be written as {name}: rename one, or "
                    "predict them into two folders"
                )
            named[name] = image
    return named


def _images_of(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.stem, path
        return
    if not path.is_dir():
        raise StvmError(f"no image and no folder {path}{why_no_folder(path)}")
    # A link to a file that is gone stays: it is named when it is read.
    found = sorted(p for p in path.rglob("*") if ending_of(p.name) and not p.is_dir())
    written = {p.parent for p in path.rglob(LEGEND) if p.parent != path}
    written = {folder for folder in written if holds_predictions(folder)}
    images = [image for image in found if written.isdisjoint(image.parents)]
    if len(images) < len(found):
        told = ", ".join(map(str, sorted(written)))
        print(
            f"left out, since predictions lie there ({LEGEND} is theirs): {told}", file=sys.stderr
        )
    if not images:
        endings = ", ".join(IMAGE_SUFFIXES)
        raise StvmError(f"no image in {path}: files that end in {endings} are read")
    for image in images:
        refuse_no_text(image)
        yield image.relative_to(path).with_suffix("").as_posix(), image
