"""Confirmations that a run needs: for days on a CPU, and for training from random weights.

This module loads neither torch nor Ray, which take seconds to import.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stvm.data.path_hints import not_written_out
from stvm.durations import duration
from stvm.errors import StvmError
from stvm.settings import Settings
from stvm.settings.presets import PRESETS
from stvm.settings.rounds import refuse_short_trials
from stvm.source_model.location import refuse_wrong_classes, source_path

STEP_S = {"deeplabv2_resnet101": (45.6, 48.8), "deeplabv3_resnet50": (32.0, 38.7)}
"""Seconds of a step without and with a metric network: batch 2 of 512x512, one thread, measured
(docs/results.md, "The paper's scale, without a GPU")."""
_PIXELS = 2 * 512 * 512
_ASK_FROM_S = 3600.0
_DAY_S = 86400.0


def refuse_missing_files(trials: Iterable[Settings]) -> None:
    """Refuse trials that name a file of weights that is not there, or classes that are none.

    Raises:
        StvmError: it is not there, or a folder; or a class map does not fit the classes; or a trial
            has fewer iterations than rounds.
    """
    trials = list(trials)
    refuse_short_trials(trials)
    named = {
        (name, getattr(settings.source, name)): None
        for settings in trials
        for name in ("source_checkpoint", "source_init")
    }
    for name, text in named:
        if text and not Path(text).is_file():
            what = "is a folder" if Path(text).is_dir() else "no such file"
            advice = not_written_out(Path(text)) or "; give the path of an existing file"
            if any(preset.changes.get(name) == text for preset in PRESETS.values()):
                advice += ", or put this file there (docs/scenarios.md says where to get it)"
            raise StvmError(f"{name}={text}: {what}{advice}")
    refuse_wrong_classes(trials)


def missing_folders(trials: Iterable[Settings]) -> list[str]:
    """A line for each missing folder; without own files there, trials have other names."""
    named = {
        (name, getattr(settings.data, name)): settings.data.dataset == "folder"
        for settings in trials
        if settings.data.dataset != "streets"
        for name in ("source_root", "target_root")
        if name == "target_root" or not settings.source.source_checkpoint
    }
    other_names = (
        "without its files trials have other names, and recorded ones may be shown as missing"
    )
    return [
        f"note: {name}={root} is {'a file, no folder' if Path(root).exists() else 'not there'}; "
        f"{other_names if own else 'trials need it to run'}"
        for (name, root), own in named.items()
        if root and not Path(root).is_dir()
    ]


def refuse_random_source(trials: Iterable[Settings], cache: Path, from_scratch: bool) -> None:
    """Refuse to train a full-size source model from random weights, unless it was asked for.

    Args:
        trials: trials that are to run.
        cache: folder in which a source model may be already.
        from_scratch: whether the user asked for it.

    Raises:
        StvmError: a trial has nothing to start from.
    """
    for settings in trials:
        source, network = settings.source, settings.network.network
        if from_scratch or network not in STEP_S or source.source_checkpoint or source.source_init:
            continue
        if not source_path(settings, cache).exists():
            raise StvmError(
                f"no source model: {network} would be trained from random weights for "
                f"{source.source_iterations:,} iterations at {source.source_lr:g}; give "
                "source_checkpoint=FILE, or source_init=FILE to train from ImageNet weights, or "
                "--from-scratch to do so all the same"
            )


def training_seconds(settings: Settings) -> float:
    """Seconds of a trial's adaptation on one core; 0 for networks that were not measured."""
    method, training = settings.method, settings.training
    steps = STEP_S.get(settings.network.network)
    if steps is None or not method.adapts:
        return 0.0
    pixels = training.batch * training.crop_height * training.crop_width
    metric = method.mgs or method.mocm or method.metric_alongside
    return training.iterations * steps[metric] * pixels / _PIXELS


def accept_cpu(trials: Sequence[Settings], asked_for: bool) -> str:
    """The time of full-size trials without a GPU, in one line; empty where it is short.

    Args:
        trials: settings of the trials to run.
        asked_for: whether the user asked for the CPU.

    Raises:
        StvmError: it was not, and one of them takes hours.
    """
    longest = max(trials, key=training_seconds)
    seconds = training_seconds(longest)
    if seconds < _ASK_FROM_S:
        return ""
    long = f"{seconds / _DAY_S:.0f} days" if seconds > 2 * _DAY_S else duration(seconds)
    step = seconds / longest.training.iterations
    told = (
        f"no GPU: {longest.training.iterations:,} iterations of {longest.network.network} are "
        f"about {long} on one core, {step:.0f} s each by what was measured (docs/results.md), "
        "source training and evaluation not counted"
    )
    if not asked_for:
        raise StvmError(f"{told}; run where there is a GPU, or give --on-cpu")
    return told
