"""All settings by group: default, allowed values, Table V's values, search range, meaning."""

import argparse
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from tabulate import tabulate

from stvm.settings import GROUPS, field_of, group_of
from stvm.settings.presets import PRESETS, find_preset

_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def shown(value: Any) -> str:
    """A value as a command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def allowed(field: FieldInfo) -> str:
    """The values that the field takes."""
    if get_origin(field.annotation) is Literal:
        choices: tuple[str, ...] = get_args(field.annotation)
        return ", ".join(choices)
    if field.annotation is bool:
        return "true, false"
    bounds = [
        f"{word} {shown(getattr(part, key))}"
        for key, word in _BOUNDS
        for part in field.metadata
        if getattr(part, key, None) is not None
    ]
    kinds: dict[Any, str] = {int: "whole", float: "number", str: "text"}
    return " ".join([kinds.get(field.annotation, ""), " and ".join(bounds)]).strip()


def facts(name: str, field: FieldInfo, preset: str | None) -> dict[str, str]:
    """The facts about a setting, by heading; a heading that does not apply is empty."""
    extra: Any = field.json_schema_extra or {}
    facts = {"default": shown(field.default)}
    if preset:
        changes = find_preset(preset).changes
        facts[f"preset {preset}"] = shown(changes.get(name, field.default))
    low_high = [shown(end) for end in extra.get("search", [])]
    tried = "tried" if group_of(name) == "objective" else "Table V"
    return facts | {
        "allowed": allowed(field),
        tried: shown(extra.get("grid", [])),
        "search": " to ".join(low_high),
    }


def describe(name: str, preset: str | None = None) -> str:
    """One setting in full.

    Raises:
        StvmError: no such setting or preset.
    """
    group, field = group_of(name), field_of(name)
    lines = [(f"  {head}", value) for head, value in facts(name, field, preset).items() if value]
    table: str = tabulate(lines, tablefmt="plain", disable_numparse=True, preserve_whitespace=True)
    return f"{name} ({group}): {field.description}\n{table}"


def list_all(preset: str | None = None) -> str:
    """All settings, a table for each group.

    Raises:
        StvmError: no such preset.
    """
    parts = []
    for group, model in GROUPS.items():
        rows = []
        for name, field in model.model_fields.items():
            row = {"setting": name} | facts(name, field, preset)
            rows.append(row | {"meaning": field.description or ""})
        heads = [head for head in rows[0] if any(row[head] for row in rows)]
        cells = [[row[head] for head in heads] for row in rows]
        table = tabulate(cells, heads, disable_numparse=True)
        parts.append(f"{group}: {(model.__doc__ or '').strip()}\n\n{table}")
    return "\n\n".join(parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of one setting")
    parser.add_argument("--preset", help=f"show its values too: {', '.join(PRESETS)}")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    print(describe(options.name, options.preset) if options.name else list_all(options.preset))
    return 0
