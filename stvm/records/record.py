"""A record of a trial as one typed value, and the readers of the records that a study lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from stvm.errors import StvmError
from stvm.files import SCHEMA, find_json
from stvm.records.checked_values import field_of
from stvm.records.manifest import Manifest, Trial
from stvm.records.passed_over import going_on
from stvm.records.record_figures import CURVES, MOVE, check_figures, check_miou
from stvm.records.result_schema import CurvePoint, Result, WatchPoint
from stvm.records.schema import Failure, Run, Status

_PARTS = ("schema", "hash", "status", "settings", "result", "failure", "run", "variant")


@dataclass(frozen=True)
class Record:
    """Everything recorded of one trial. `docs/records.md` explains each field.

    The parts are the JSON objects of the file, typed by `stvm.records.schema`: a field that an
    older version did not write is absent from them, and one of a later version is kept.

    Attributes:
        hash: name of the trial.
        status: done, or failed because a loss was not finite.
        settings: settings of the trial by name.
        result: findings of the trial; empty when it failed.
        failure: reason of a failed trial; empty when it is done.
        run: circumstances of the run: time, device, versions, source model.
        variant: label of the trial for people.
        others: fields of the file that this version does not know.
        path: file of the record; None before it is written.
    """

    hash: str
    status: Status
    settings: dict[str, Any] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    failure: Failure = field(default_factory=Failure)
    run: Run = field(default_factory=Run)
    variant: str = ""
    others: dict[str, Any] = field(default_factory=dict)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: Path | None = None) -> "Record":
        """A record from the JSON object of its file, whichever version wrote it.

        Args:
            data: the object, of the schema that this version reads.
            path: the file, for messages.

        Raises:
            StvmError: a part is absent or of another type.
        """
        name = path or Path("record")
        try:
            status = field_of(data, "status", str, name)
            if status not in ("done", "failed"):
                raise StvmError(f"{name}: status is {status!r}, neither 'done' nor 'failed'")
            done = status == "done"
            return cls(
                field_of(data, "hash", str, name),
                cast(Status, status),
                field_of(data, "settings", dict, name),
                cast(Result, field_of(data, "result", dict, name) if done else {}),
                cast(Failure, {} if done else _optional(data, "failure", name)),
                cast(Run, _optional(data, "run", name)),
                str(data.get("variant") or ""),
                {key: value for key, value in data.items() if key not in _PARTS},
                path,
            )
        except StvmError as error:
            said = str(error)
            raise StvmError(said if said.endswith(MOVE) else f"{said}; {MOVE}") from None

    def __post_init__(self) -> None:
        if self.is_done:
            check_miou(self.result, self.path or Path("record"))

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the record's file, with the number of its schema."""
        parts = {"schema": SCHEMA, "hash": self.hash, "status": self.status}
        parts |= {"settings": self.settings, "result": self.result if self.is_done else None}
        parts |= {"failure": None if self.is_done else self.failure}
        return parts | {"run": self.run, "variant": self.variant} | self.others

    @property
    def is_done(self) -> bool:
        """Whether the trial has a result."""
        return self.status == "done"

    @property
    def miou(self) -> float | None:
        """Mean IoU on the evaluated split, a fraction of 1; None when the trial failed."""
        return self.result.get("miou")

    @property
    def error(self) -> str | None:
        """First line of the failure; None when the trial is done."""
        if self.is_done:
            return None
        lines = str(self.failure.get("error", "")).strip().splitlines()
        return lines[0] if lines else "no reason recorded"

    @property
    def reason(self) -> str:
        """The failure's whole message in one line; empty when the trial is done."""
        return " ".join(str(self.failure.get("error", "")).split())

    @property
    def split(self) -> str:
        """Images it was measured on; empty when the trial failed."""
        return str(self.result.get("split", ""))

    @property
    def adapts(self) -> bool:
        """Whether the trial trained on the target."""
        return isinstance(self.result.get("student"), dict)

    @property
    def collapsed(self) -> bool:
        """Whether its predictions fell to few classes."""
        return self.result.get("collapsed") is True

    @property
    def idle(self) -> tuple[str, ...]:
        """Parts of the method that were on and did nothing, in words."""
        told: object = self.result.get("idle")
        return tuple(map(str, told)) if isinstance(told, list) else ()

    @property
    def scores(self) -> Mapping[str, float | None]:
        """Scores that need no label, by name; empty where there are none."""
        return cast(Mapping[str, float | None], self.result.get("scores") or {})

    @property
    def auroc(self) -> Mapping[str, float | None]:
        """AUROC of the pseudo-labels by score; empty where there is none."""
        return cast(Mapping[str, float | None], self.result.get("auroc") or {})

    def silhouette(self, labels: str) -> Mapping[str, Any]:
        """Silhouettes under the labels "truth" or "prediction"; empty where there are none."""
        found: Mapping[str, Any] = self.result.get("silhouette") or {}
        return found.get(labels) or {}

    @property
    def curve(self) -> list[CurvePoint]:
        """Losses and the like over the iterations."""
        return self.result.get("curve") or []

    @property
    def watch(self) -> list[WatchPoint]:
        """Shares of the predicted classes over the iterations."""
        return self.result.get("watch") or []


def _optional(data: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    return field_of(data, name, dict, path) if data.get(name) is not None else {}


def find_record(path: Path) -> Record | None:
    """The record in a file `HASH.json`; None when there is none.

    Raises:
        StvmError: the file is damaged, or of another trial than its name says.
        Unreadable: a later version wrote it, or nothing is known to be wrong with it.
    """
    data = find_json(path)
    if data is None:
        return None
    if data.get("hash") != path.stem:
        raise StvmError(
            f"{path}: hash is {data.get('hash')!r}, so it is no record of trial {path.stem}; {MOVE}"
        )
    return Record.from_dict(data, path)


def read_record(path: Path, curves: bool = True) -> Record | None:
    """The record in a file `HASH.json` with checked figures; None when there is none.

    Fields of the result that are null are left out.

    Args:
        path: file of the record.
        curves: keep the curves, which are most of a record.

    Raises:
        StvmError: the file is damaged or belongs to another trial, or a figure has a wrong form.
        Unreadable: a later version wrote it, or nothing is known to be wrong with it.
    """
    record = find_record(path)
    if record is None or not record.is_done:
        return record
    check_figures(record.result, path, curves)
    dropped = () if curves else CURVES
    kept = {k: v for k, v in record.result.items() if v is not None and k not in dropped}
    return replace(record, result=cast(Result, kept))


def _check_trial(record: Record, trial: Trial) -> None:
    for name in ("realisation", "seed"):
        expected = getattr(trial, name)
        found = record.settings.get(name, expected)
        if expected is not None and found != expected:
            raise StvmError(f"{record.path}: {name} is {found!r}, the study lists {expected!r}")


Outcome = Literal["done", "failed", "missing"]


def outcome(record: Record | None) -> Outcome:
    """State of a listed trial."""
    return "missing" if record is None else record.status


class RecordReader:
    """Records of a results folder, each read once however many studies list it.

    Args:
        results: the folder.
        curves: keep the curves of the records, for which tables have no use.
        passed_over: list for a line on each record that cannot be used, which then counts as
            missing; without a list such a record is an error.
    """

    def __init__(
        self, results: Path, curves: bool = False, passed_over: list[str] | None = None
    ) -> None:
        self.results = results
        self.curves = curves
        self.passed_over = passed_over
        self._read: dict[str, Record | None] = {}

    def record(self, name: str) -> Record | None:
        """The record of the trial with this hash; None when there is none.

        Raises:
            StvmError: a record is damaged, or one of its figures has a wrong form.
            Unreadable: a later version wrote it, or nothing is known to be wrong with it.
        """
        if name not in self._read:
            path = self.results / "records" / f"{name}.json"
            found = None
            with going_on(self.passed_over):
                found = read_record(path, self.curves)
            self._read[name] = found
        return self._read[name]

    def records(self, manifest: Manifest) -> dict[Trial, Record | None]:
        """Records of the trials that `manifest` lists, and of no other.

        Raises:
            StvmError: a record is damaged, or its seed or realisation is not the study's.
            Unreadable: a later version wrote it, or nothing is known to be wrong with it.
        """
        found: dict[Trial, Record | None] = {}
        for trial in manifest.trials:
            record = self.record(trial.hash)
            found[trial] = None
            with going_on(self.passed_over):
                if record is not None:
                    _check_trial(record, trial)
                found[trial] = record
        return found


def read_records(results: Path, manifest: Manifest) -> dict[Trial, Record | None]:
    """Records of the trials that `manifest` lists, and of no other."""
    return RecordReader(results).records(manifest)
