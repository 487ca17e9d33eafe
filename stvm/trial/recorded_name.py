"""The name of a recorded trial that reads a user's files, found without torch.

The name depends on the content of the files; in earlier versions it depended on their paths. A
record under such a name is still the trial's if it was made from the files that are there now.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any

from stvm.data.datasets import every_fingerprint, fingerprint
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.records.passed_over import going_on
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings, digest
from stvm.source_model.location import uses_local_files

_PATHS = ("source_root", "target_root", "source_checkpoint", "source_init")
_EQUAL = ("float32", "bfloat16")
_PASSES: dict[str, tuple[Any, ...]] = {
    "precision": _EQUAL,
    "channels_last": (False, True),
    "compile": (False, True),
}
"""Settings of training passes, and values that are equal for a trial that trains nothing."""


def named(settings: Settings, results: Results, contents: Contents) -> Settings:
    """The settings whose hash is the trial's name in these results.

    Args:
        settings: settings of the trial.
        results: folder in which it is or will be recorded.
        contents: digests of files.

    Returns:
        Settings that name files by their content. They name files by their path if a record made
        from the same files has that name, or if the files are missing.

    Raises:
        StvmError: digests in the settings are not those of the files.
    """
    if not uses_local_files(settings):
        return settings
    known = contents.identified(settings)
    if known == settings.without_contents() or results.record_path(known.hash()).exists():
        return known
    for older in _by_place(known, results):
        try:
            record = results.read(older.hash())
        except StvmError:
            # It may be the trial's, so the trial gets its name and does not run a second time.
            return older
        if record and is_of(record, older, contents):
            return older
    return known


def images_of(settings: Settings, read: Callable[..., str | None] = fingerprint) -> str | None:
    """Names and sizes of the images that the trial reads; None for the embedded benchmark.

    The source model's row counts no training images of the target here: so it was recorded.
    """
    adapts = settings.method.adapts or settings.method.procedure != "adapt"
    reads_source = not (settings.source.source_checkpoint and adapts)
    return read(settings.data, settings.training.eval_split, adapts, reads_source)


def refuse_other_files(trials: Iterable[Settings], results: Results, contents: Contents) -> None:
    """Refuse records made from other files, under a name that does not depend on the content.

    Raises:
        StvmError: a recorded trial read other files below the same path, or digests in the settings
            are not those of the files.
    """
    for settings in filter(uses_local_files, trials):
        contents.identified(settings)
        record = None
        # Whoever lists or runs the trials names a record that cannot be read.
        with going_on([]):
            record = results.read(settings.hash())
        if record is not None and not is_of(record, settings, contents):
            data = settings.data
            places = [data.source_root, data.target_root, settings.source.source_checkpoint]
            raise StvmError(
                f"{results.record_path(settings.hash())}: recorded with other files in "
                f"{' or '.join(filter(None, places))}; restore them, or name another folder with "
                "--results"
            )


def _by_place(settings: Settings, results: Results) -> Iterator[Settings]:
    """The trial under its earlier names, one for each spelling of its paths, if it is recorded."""
    recorded = set(results.names())
    if not recorded:
        return
    plain = settings.without_contents()
    flat = plain.flat()
    passes = _PASSES if _trains_nothing(settings) and flat["precision"] in _EQUAL else {}
    for values in product(*passes.values()):
        computed = plain.replace(**dict(zip(passes, values, strict=True)))
        identity = computed.identity()
        ways = {name: _spellings(flat[name]) for name in _PATHS if identity.get(name)}
        for places in product(*ways.values()):
            paths = dict(zip(ways, places, strict=True))
            if digest(identity | paths) in recorded:
                yield computed.replace(**paths).canonical()


def _trains_nothing(settings: Settings) -> bool:
    method = settings.method
    adapts = method.adapts or method.procedure == "oracle"
    return bool(settings.source.source_checkpoint) and not adapts


def is_of(record: Record, settings: Settings, contents: Contents) -> bool:
    """Whether a record was made from the present files, as far as it tells.

    Earlier records hold names and sizes of images only, the first ones of all files in the folders.
    """
    run = record.run
    checkpoint = settings.source.source_checkpoint
    weights = contents.of_file(checkpoint) if checkpoint else ""
    if weights and run.get("source_sha256", weights) != weights:
        return False
    if settings.data.dataset == "streets":
        return True
    if "images_content" in run:
        return bool(run["images_content"] == contents.of_images(settings))
    if "images_sha256" not in run:
        return True
    return run["images_sha256"] in (images_of(settings), images_of(settings, every_fingerprint))


def _spellings(path: str) -> list[str]:
    """The path as given, and other spellings of it."""
    plain = os.path.normpath(path)
    near = [plain, os.path.relpath(plain), os.path.abspath(plain), os.path.realpath(plain)]
    near += [os.path.relpath(near[-1])]
    forms = [form for way in near for form in (way, f"{way}/", os.path.join(".", way))]
    return list(dict.fromkeys([path, *forms]))
