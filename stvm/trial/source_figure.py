"""mIoU of the source model that a trial starts from, as another trial recorded it."""

from contextlib import suppress

from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.settings.naming import SOURCE_TRAINING
from stvm.trial.recorded_name import is_of, named


def source_row(settings: Settings) -> Settings:
    """Settings of the trial that measures the source model as it is: the tables' row Source."""
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    return settings.replace(procedure="adapt", **off).canonical()


def recorded_source_miou(settings: Settings, results: Results, contents: Contents) -> float | None:
    """mIoU that a row Source recorded; None without one.

    The row's name depends on settings of the training that may not matter to its source model,
    such as the weight decay beside a checkpoint. So a row with others of them serves too.

    Args:
        settings: Settings of a trial that adapts.
        results: Folder of the records.
        contents: Digests of the user's files.
    """
    row = named(source_row(settings), results, contents)
    # A record of another trial that cannot be read is no trouble of this one.
    with suppress(StvmError):
        record = results.read(row.hash())
        if record and record.miou is not None:
            return record.miou
    for name in results.names():
        with suppress(StvmError):
            other = results.read(name)
            if not other or other.miou is None or not _measures(other, row):
                continue
            # A name by path says nothing of what the files held.
            if is_of(other, row, contents):
                return other.miou
    return None


def _measures(record: Record, row: Settings) -> bool:
    """Whether a record is of a row Source with the source model and the evaluation of `row`."""
    if any(record.settings.get(name) for name in ("st", "mgs", "mocm")):
        return False
    flat = row.flat()
    if any(record.settings.get(name) != flat[name] for name in ("procedure", "eval_split")):
        return False
    found = Settings().replace(**record.settings)
    shared = {name: flat[name] for name in SOURCE_TRAINING}
    same_model = row.source.source_checkpoint or found.source_hash() == row.source_hash()
    return bool(same_model) and found.replace(**shared).hash() == row.hash()
