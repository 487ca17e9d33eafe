"""What every group of settings is made of."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SettingsGroup(BaseModel):
    """A frozen group of settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def tunable(
    default: Any, *, grid: tuple[float, ...], search: tuple[float, float], **kw: Any
) -> Any:
    """A field with its Table V values and its search range beside the default."""
    return Field(default, json_schema_extra={"grid": list(grid), "search": list(search)}, **kw)


def hashed_if_changed(default: Any, **kw: Any) -> Any:
    """A field that joined after trials were recorded.

    At its default it means what those trials did, and stays out of a trial's name: the names of
    recorded trials do not change.
    """
    return Field(default, json_schema_extra={"later": True}, **kw)


def is_hashed_if_changed(field: Any) -> bool:
    """The field was made by `hashed_if_changed`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("later"))
