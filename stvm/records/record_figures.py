"""Checks of a result before tables show it: every figure is a number, in the form of the schema."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.records.result_schema import Result

MOVE = "move it away and run again"
"""Advice of a message about a record that cannot be used."""
CURVES = ("curve", "watch")
"""Lists of points over the iterations, which are most of a record."""
_SHOWN = (
    *("iou", "class_names", "auroc", "scores", "silhouette", "means", "multi_scale", "protocol"),
    "correspondence",
)
"""Fields of a result that tables show beside its mIoU; each may be absent or null."""
_MEANS = ("class", "overall")


def check_figures(result: Result, path: Path, curves: bool) -> None:
    """Refuse a result that tables cannot show.

    Args:
        result: result of a done trial.
        path: file of the record, for messages.
        curves: check the curves too.

    Raises:
        StvmError: a figure is no number, or a field has another form.
    """
    check_miou(result, path)
    fields: dict[str, Any] = dict(result)
    for name in _SHOWN:
        if fields.get(name) is not None and not _is_sound(name, fields[name]):
            raise _unsound(path, name)
    for name in CURVES if curves else ():
        points = fields.get(name) if fields.get(name) is not None else []
        if not isinstance(points, list) or not all(_is_point(point, name) for point in points):
            raise _unsound(path, name)


def check_miou(result: Mapping[str, Any], path: Path) -> None:
    """Refuse a result without a mean IoU between 0 and 1.

    Raises:
        StvmError: it has none.
    """
    miou = result.get("miou")
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not math.isfinite(miou):
        raise StvmError(f"{path}: 'miou' is {miou!r}, not a number; {MOVE}")
    if not 0 <= miou <= 1:
        raise StvmError(f"{path}: 'miou' is {miou}, not a fraction between 0 and 1; {MOVE}")


def _unsound(path: Path, name: str) -> StvmError:
    return StvmError(f"{path}: '{name}' holds no figures; {MOVE}")


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_point(point: Any, name: str) -> bool:
    if not isinstance(point, dict) or not isinstance(point.get("iteration"), int):
        return False
    numbers = point.get("shares") if name == "watch" else list(point.values())
    return isinstance(numbers, list) and all(map(_is_figure, numbers))


def _is_sound(name: str, value: Any) -> bool:
    """Whether a field has the form that tables expect."""
    if name == "class_names":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if name == "iou":
        return isinstance(value, list) and all(map(_is_figure, value))
    if not isinstance(value, dict):
        return False
    if name == "multi_scale":
        return _is_measured(value)
    if name == "correspondence":
        return _is_correspondence(value)
    if name == "protocol":
        return isinstance(value.get("name"), str)
    if name != "silhouette":
        return all(map(_is_figure, value.values()))
    parts = [part for part in value.values() if part is not None]
    return all(
        isinstance(part, dict) and all(_is_figure(part.get(f"{k}_mean")) for k in _MEANS)
        for part in parts
    )


def _is_correspondence(value: dict[str, Any]) -> bool:
    """Whether a correspondence of classes has its form."""
    source, target = value.get("source"), value.get("target")
    if not isinstance(source, list) or not isinstance(target, list) or len(source) != len(target):
        return False
    named = all(isinstance(name, str) for name in source)
    return named and all(name is None or isinstance(name, str) for name in target)


def _is_measured(value: dict[str, Any]) -> bool:
    """Whether figures of multi-scale testing have their form."""
    means, scales = value.get("means") or {}, value.get("scales") or []
    return (
        _is_figure(value.get("miou"))
        and _is_sound("iou", value.get("iou") or [])
        and _is_sound("means", means)
        and _is_sound("iou", scales)
    )
