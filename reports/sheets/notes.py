"""Sentences below a table, on pooled realisations, missing trials and the signs of figures."""

from collections.abc import Iterable

from reports.sheets.cells import COLLAPSED, IDLE
from reports.sheets.rows import Pool, Records
from stvm.records.manifest import Manifest, Trial
from stvm.settings.class_map import sentence
from stvm.statistics import sort_key

PUBLISHED = "† Published figures for GTA5 to Cityscapes: other data and another network."
BEST = "Bold: best of the measured rows{}; underlined: second."
SPREAD = (
    "Measured figures are per cent; mIoU and sd (n - 1 in the denominator) are over the n "
    "recorded (realisation, seed) trials."
)
_NAMED = 10


def pool_note(pool: Pool, dataset: str) -> str:
    """Sentence that names the realisations behind the figures."""
    if dataset != "streets":
        return "One data set and one source model; the trials of a row differ in the seed."
    names = ", ".join(map(str, pool.realisations))
    if pool.tuned:
        return (
            f"TUNED ON: every realisation of this study ({names}) was used to choose settings, "
            "so these figures are optimistic; none is fresh."
        )
    others = ", ".join(map(str, pool.left_out))
    left_out = f"; tuned on and left out: {others}" if others else ""
    return f"Fresh realisations pooled: {names}{left_out}."


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED
    return "; ".join(items[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _ordered(records: Records) -> list[Trial]:
    rows = {row: i for i, row in enumerate(dict.fromkeys(trial.variant for trial in records))}
    return sorted(records, key=lambda t: (rows[t.variant], sort_key((t.realisation, t.seed))))


def split_note(records: Records) -> list[str]:
    """Sentence that names the split of all trials, or warns of several."""
    splits = sorted({r.split for r in records.values() if r is not None and r.split})
    if len(splits) > 1:
        return [f"WARNING: trials of different splits are mixed: {', '.join(splits)}."]
    return [f"Split: {split}." for split in splits]


def class_notes(records: Records) -> list[str]:
    """Sentence on source classes that stand for others of the target, or a warning of several."""
    results = [r.result for r in records.values() if r is not None and r.miou is not None]
    found = dict.fromkeys(
        sentence(
            given["source"],
            given["target"],
            result.get("class_names", []),
            given.get("by", ""),
            given.get("unmatched", ""),
            given.get("assumed", ""),
        )
        if (given := result.get("correspondence"))
        else ""
        for result in results
    )
    if len(found) > 1:
        told = "; or: ".join(
            text or "the classes of the source model are the target's" for text in found
        )
        return [f"WARNING: trials with different classes of the source model are mixed: {told}."]
    return [f"{text[0].upper()}{text[1:]}." for text in found if text]


def start_notes(records: Records) -> list[str]:
    """Sentence on rows that adapt from statistics nearer to the target than the source model's."""
    settings = [r.settings for r in records.values() if r is not None and r.miou is not None]
    shares = sorted({s.get("start_bn", 0.0) for s in settings if s.get("st")})
    if not any(shares):
        return []
    listed = " or ".join(f"{share:g}" for share in shares)
    return [
        f"Rows that adapt start with batch-norm statistics {listed} of the way from the source's "
        "to the target's (start_bn), so the difference of ST to Source contains this start."
    ]


def gap_notes(records: Records) -> list[str]:
    """Sentences on trials that failed, are missing, collapsed or had a part that did nothing.

    A trial is named once, by the first row that it is in.
    """
    found: dict[str, list[str]] = {"failed": [], "missing": [], "collapsed": [], "idle": []}
    named: set[str] = set()
    for trial in _ordered(records):
        if trial.hash in named:
            continue
        named.add(trial.hash)
        record = records[trial]
        if record is None:
            found["missing"].append(str(trial))
        elif record.error is not None:
            found["failed"].append(f"{trial}: {record.error}")
        else:
            found["collapsed"] += [str(trial)] if record.collapsed else []
            found["idle"] += [f"{trial}: {', '.join(record.idle)}"] if record.idle else []
    heads = {
        "failed": "Failed trials, left out",
        "missing": "Trials not recorded yet",
        "collapsed": f"{COLLAPSED} Collapsed trials, whose predictions fell to less than half of "
        "the source model's effective number of classes; they stay in the means",
        "idle": f"{IDLE} Trials with a part that was on and did nothing; they stay in the means",
    }
    return [
        f"{head} ({len(found[k])}): {_some(found[k])}." for k, head in heads.items() if found[k]
    ]


def other_note(manifest: Manifest) -> list[str]:
    """Sentence that names the study, where there are others of its kind."""
    if not manifest.others:
        return []
    options = ", ".join(f"--study {base}" for base in manifest.others)
    kind = manifest.study.replace("_", " ")
    return [f"This is study {manifest.base}; other {kind} studies: {options}."]


def study_notes(manifest: Manifest, records: Records, *middle: str) -> tuple[str, ...]:
    """Notes that every table has, after those in `middle`."""
    common = (*split_note(records), *class_notes(records), *gap_notes(records))
    return (*middle, *common, *other_note(manifest))


def heading(manifest: Manifest) -> str:
    """Title of a study with its base and preset."""
    return f"{manifest.title} (study {manifest.base}, preset {manifest.preset})"


def tuned_mark(title: str, pool: Pool) -> str:
    """The title, with a warning where the pooled realisations were tuned on."""
    return f"{title} (tuned on)" if pool.tuned else title


def unlisted_note(names: Iterable[str], why: str = "") -> list[str]:
    """Sentence that names the rows of the table that the study does not list."""
    text = ", ".join(names)
    return [f"Not part of this study: {text}{why}."] if text else []
