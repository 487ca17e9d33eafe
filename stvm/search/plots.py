"""Optuna's importances and plots of a search."""

import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna

from stvm.files import FIGURE_SOFTWARE, names_us, refuse_other_file, resolution, write_whole

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
_DPI = 120
_EARLIER = b"pHYs" + resolution(_DPI)
"""Resolution of plots of earlier versions, which name matplotlib as their software."""
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


def refuse_other_plots(folder: Path) -> None:
    """Refuse to replace files that are no plots of a search.

    Raises:
        StvmError: there is one, or it cannot be read.
    """
    for name in _VIEWS:
        refuse_other_file(folder / f"{name}.png", "plot", _is_ours)


def _is_ours(head: bytes) -> bool:
    return names_us(head) or _EARLIER in head[:4096] and b"tEXtSoftware\0Matplotlib" in head[:4096]


def write_plots(study: optuna.Study, target: str, folder: Path) -> list[str]:
    """History, slice, importance and parallel coordinates as PNG; a line for each.

    Args:
        study: Optuna's study.
        target: label of the score; "oracle" in it where it is one.
        folder: folder of the files.

    Raises:
        StvmError: no space, no permission, or another file is there.
    """
    if _complete(study) < LEAST:
        return [f"plots missing: they need {LEAST} complete trials"]
    refuse_other_plots(folder)
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
        picture = io.BytesIO()
        named = {"Software": FIGURE_SOFTWARE}
        figure.savefig(picture, format="png", dpi=_DPI, bbox_inches="tight", metadata=named)
        plt.close("all")
    write_whole(path, picture.getbuffer())
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
