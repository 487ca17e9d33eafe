"""The base class of groups of settings, and the kinds of their fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SettingsGroup(BaseModel):
    """A frozen group of settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def tunable(
    default: Any, *, grid: tuple[float, ...], search: tuple[float, float], **kw: Any
) -> Any:
    """A field with its values of Table V and its search range beside the default."""
    return Field(default, json_schema_extra={"grid": list(grid), "search": list(search)}, **kw)


def hashed_if_changed(default: Any, **kw: Any) -> Any:
    """A field that was added after trials had been recorded.

    Its default means what those trials did. With the default it is not part of a trial's name, so
    the names of recorded trials do not change.
    """
    return Field(default, json_schema_extra={"later": True}, **kw)


def tunable_peer(
    default: Any, *, grid: tuple[float, ...], search: tuple[float, float], **kw: Any
) -> Any:
    """A field of an objective beside STvM: `tunable`, and named as `hashed_if_changed`.

    Its grid holds values to try, which are not of Table V.
    """
    return Field(
        default,
        json_schema_extra={"grid": list(grid), "search": list(search), "later": True},
        **kw,
    )


def is_hashed_if_changed(field: Any) -> bool:
    """Whether the field was made by `hashed_if_changed`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("later"))
