"""Optuna's side of a search: its storage, samplers and pruners by name, who may continue it."""

import contextlib
import importlib.util
import json
import re
import uuid
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from stvm.errors import StvmError, known_name
from stvm.files import checked_name, replacing, writing
from stvm.files.sqlite import sqlite_url
from stvm.records.results import Results

STEPS = 10
"""A pruner's steps: tenths of the iterations, so that trials are compared at equal progress."""

SAMPLERS = ("tpe", "random", "gp", "qmc", "cmaes", "grid")
PRUNERS = ("none", "median", "percentile", "successive_halving", "hyperband")
_IDENTITY = "stvm_search"
_VERSIONS = "versions"
_OWNER = "stvm_results"

optuna.logging.set_verbosity(optuna.logging.ERROR)


DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
"""Errors that a database raises itself."""


@contextlib.contextmanager
def storage_faults(place: str, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Failures of the database in one line, without the URL's password.

    Args:
        place: place of the storage, as shown to people.
        kinds: taken as such; all, around what uses nothing but the storage.

    Raises:
        StvmError: the storage cannot be reached, read or written.
    """
    try:
        yield
    except StvmError:
        raise
    except kinds as error:
        cause = error.__cause__ or error
        reason = re.sub(r"//([^:/@\s]*):[^@\s]*@", r"//\1:***@", str(cause).splitlines()[0])
        raise StvmError(
            f"storage {place}: {type(cause).__name__}: {reason}; check --storage and the disk, "
            "and run again: what is recorded stays"
        ) from error


def storage_place(storage: str | None, name: str) -> str:
    """The storage as people may see it: a path below the results, or a URL without password."""
    if storage is None:
        return f"searches/{checked_name(name, '--name')}.db"
    return re.sub(r"//([^:/@]*):[^@]*@", r"//\1:***@", storage)


def storage_file(storage: str | None, results: Path, name: str) -> Path | None:
    """The file behind a storage; None for one behind a URL."""
    if storage is None:
        return results / "searches" / f"{checked_name(name, '--name')}.db"
    return None if "://" in storage else Path(storage).resolve()


def open_storage(storage: str | None, results: Path, name: str) -> BaseStorage:
    """Optuna's storage: sqlite below the results, a `.log` journal, a file, or any URL.

    Raises:
        StvmError: it cannot be opened.
    """
    path = storage_file(storage, results, name)
    with storage_faults(storage_place(storage, name)):
        if path is None:
            return get_storage(storage)
        with writing(path.parent):
            if path.suffix == ".log":
                return JournalStorage(JournalFileBackend(str(path)))
            return get_storage(sqlite_url(path))


def results_id(results: Results) -> str:
    """A name for a results folder that stays when it is moved, drawn when first asked for.

    Raises:
        StvmError: it can be neither read nor written.
    """
    path = results.root / "searches" / "ID"
    with results.lock("searches-ID"), writing(path.parent):
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(f"{uuid.uuid4().hex}\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()


def open_study(
    storage: BaseStorage, name: str, identity: dict[str, Any], maximise: bool, owner: str
) -> optuna.Study:
    """The study of a search, made or continued.

    Args:
        storage: Optuna's storage that keeps it.
        name: name of the study.
        identity: values that must be equal for trials to be compared, as JSON.
        maximise: direction of the score.
        owner: id of the results folder that holds the records, from `results_id`.

    Raises:
        StvmError: a study of this name is another search, another results folder's, or not one
            of ours.
    """
    direction = StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE
    wanted = json.loads(json.dumps(identity))
    names = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    if name in names:
        study = optuna.load_study(study_name=name, storage=storage)
        _refuse_another(study, wanted)
        _refuse_another_folder(study, owner)
    else:
        study = optuna.create_study(study_name=name, storage=storage, direction=direction)
    if _IDENTITY not in study.user_attrs:
        study.set_user_attr(_IDENTITY, wanted)
    if _OWNER not in study.user_attrs:
        study.set_user_attr(_OWNER, owner)
    now = {package: version(package) for package in ("optuna", "torch", "ray")}
    seen = study.user_attrs.get(_VERSIONS, [])
    if now not in seen:
        study.set_user_attr(_VERSIONS, [*seen, now])
    return study


def _refuse_another(study: optuna.Study, wanted: dict[str, Any]) -> None:
    found = study.user_attrs.get(_IDENTITY)
    if found is None:
        # A process may have been killed between making the study and signing it.
        if study.get_trials(deepcopy=False):
            raise StvmError(
                f"study '{study.study_name}' in the storage was not made by this command: "
                "choose another --name"
            )
        return
    # A changed setting is named by itself, before the hash it changes.
    before = found.get("settings", {}) | found
    now = wanted["settings"] | wanted
    for key in (k for k in now if k != "settings"):
        if before.get(key) != now[key]:
            raise StvmError(
                f"study '{study.study_name}' was started with {key} {json.dumps(before.get(key))}, "
                f"not {json.dumps(now[key])}: choose another --name, or change it back"
            )


def _refuse_another_folder(study: optuna.Study, owner: str) -> None:
    # Its RUNNING trials may be at work there, and their records will never be found here.
    if study.user_attrs.get(_OWNER, owner) != owner:
        raise StvmError(
            f"study '{study.study_name}' in the storage belongs to another results folder: "
            "choose another --name, or the --results it was started with"
        )


def find_sampler(name: str) -> str:
    """The sampler of this name, whatever its capitals.

    Raises:
        StvmError: there is none, or it needs a package that is not installed.
    """
    found = known_name("sampler", name, SAMPLERS)
    if found == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise StvmError("sampler 'cmaes' needs a package: pip install cmaes, or --sampler tpe")
    return found


def make_sampler(name: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for one suggestion.

    It is made anew for each trial from (seed, number), so that it suggests the same values after a
    kill as without one. A sampler for the whole search would begin its random numbers again.

    Args:
        name: one of `SAMPLERS`.
        seed: seed of the search's sampler.
        number: number of the next trial.
    """
    mixed = (seed * 1_000_003 + number) % 2**31
    if name == "random" or name == "grid":
        return optuna.samplers.RandomSampler(seed=mixed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=mixed, warn_independent_sampling=False)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=mixed, warn_independent_sampling=False)
    if name == "qmc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # One sequence: its scrambling must not change, its position is kept in the storage.
            return optuna.samplers.QMCSampler(
                seed=seed, scramble=True, warn_independent_sampling=False
            )
    return optuna.samplers.TPESampler(seed=mixed)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """The pruner of this name, in steps of a tenth of the iterations."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    if name == "percentile":
        return optuna.pruners.PercentilePruner(75.0, n_startup_trials=5, n_warmup_steps=2)
    if name == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=STEPS)
    return optuna.pruners.NopPruner()
