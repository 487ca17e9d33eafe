"""Optuna's importances and plots of a search."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna

from stvm.files import writing

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from optuna.visualization import matplotlib as views

_VIEWS: dict[str, tuple[str, Callable[..., Any]]] = {
    "history": ("Each trial and the best so far", views.plot_optimization_history),
    "slice": ("Trials over each setting, the later the darker", views.plot_slice),
    "importance": ("Importance of each setting", views.plot_param_importances),
    "parallel": (
        "Settings of each trial, the better the darker",
        views.plot_parallel_coordinate,
    ),
}
"""File to title and Optuna's plot."""
LEAST = 2
"""Complete trials without which nothing can be compared."""


def importances(study: optuna.Study) -> dict[str, float] | str:
    """Share of each parameter in the score's variation, or why there is none."""
    if _complete(study) < LEAST:
        return f"missing: they need {LEAST} complete trials"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError) as error:
            return f"missing: {error}"
    if not all(map(math.isfinite, found.values())):
        return "missing: they are not finite"
    return found


def write_plots(study: optuna.Study, target: str, folder: Path) -> list[str]:
    """History, slice, importance and parallel coordinates as PNG; a line for each.

    Args:
        study: Optuna's study.
        target: label of the score; "oracle" in it where it is one.
        folder: folder of the files.
    """
    if _complete(study) < LEAST:
        return [f"plots missing: they need {LEAST} complete trials"]
    return [_write(study, name, target, folder / f"{name}.png") for name in _VIEWS]


def _write(study: optuna.Study, name: str, target: str, path: Path) -> str:
    title, view = _VIEWS[name]
    # Optuna's views set matplotlib's style for the whole process.
    with warnings.catch_warnings(), plt.rc_context():
        warnings.simplefilter("ignore")
        try:
            axes = np.ravel(view(study, target_name=target))
        except (ValueError, RuntimeError) as error:
            plt.close("all")
            return f"{path.name} missing: {error}"
        figure = axes[0].figure
        _legible(figure, f"{title}: {target}", grid=name != "parallel")
        with writing(path.parent):
            figure.savefig(path, dpi=120, bbox_inches="tight")
        plt.close("all")
    return f"wrote {path}"


def _legible(figure: Figure, title: str, grid: bool) -> None:
    """Optuna's plots with one title, room, and plain numbers on logarithmic axes."""
    figure.set_size_inches(max(9.0, figure.get_size_inches()[0]), 5.0)
    figure.suptitle(title, y=0.98)
    for axes in figure.axes:
        axes.set_title("")
        axes.set_title("", loc="left")
        if not grid:
            axes.grid(False)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(FormatStrFormatter("%g"))
                axis.set_minor_formatter(NullFormatter())


def _complete(study: optuna.Study) -> int:
    states = (optuna.trial.TrialState.COMPLETE,)
    return len(study.get_trials(deepcopy=False, states=states))
