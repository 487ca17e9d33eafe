"""All settings by group: default, allowed values, Table V's values, search range, meaning.

NAME is a setting, which is shown in full; a group, such as method; or an objective by its
procedure or its row in tables, such as iast or DT-ST. STvM, AdaBN and Oracle are known too.
Capitals do not count.
"""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from tabulate import tabulate

from studies.arguments import preset_name
from stvm.errors import known_name
from stvm.settings import GROUPS, Settings, field_of, group_of
from stvm.settings.peers import PEERS, fields_of
from stvm.settings.presets import PRESETS, find_preset

OTHER_ROWS = {"STvM": "method", "AdaBN": "adabn_share", "Oracle": "source"}
"""Rows of tables that are no objective of others, and where their settings are."""
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
    return "\n\n".join(list_group(group, preset) for group in GROUPS)


def list_group(group: str, preset: str | None = None) -> str:
    """The settings of one group.

    Raises:
        StvmError: no such preset.
    """
    model = GROUPS[group]
    return f"{group}: {(model.__doc__ or '').strip()}\n\n{_table(model.model_fields, preset)}"


def list_objective(procedure: str, preset: str | None = None) -> str:
    """An objective: its own settings, those that it sets, those of its rows, and others it needs.

    Raises:
        StvmError: no such preset.
    """
    peer, own = PEERS[procedure], fields_of(procedure)
    sets = _assigned(peer.brings)
    parts = [
        f"procedure={procedure}: {peer.about}",
        _table(own, preset) if own else "It has no settings of its own.",
        f"It sets, where you give no other value: {sets}" if sets else "",
        *(
            f"The row {row} of tables is this objective with {_assigned(changes)}"
            for row, changes in peer.rows.items()
            if changes
        ),
        f"Other settings of method and training that matter to it: {', '.join(peer.uses)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _assigned(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in changes.items())


def _table(names: Iterable[str], preset: str | None) -> str:
    rows = []
    for name in names:
        field = field_of(name)
        row = {"setting": name} | facts(name, field, preset)
        rows.append(row | {"meaning": field.description or ""})
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    cells = [[row[head] for head in heads] for row in rows]
    table: str = tabulate(cells, heads, disable_numparse=True)
    return table


def show(name: str, preset: str | None = None) -> str:
    """A setting, a group or an objective, whatever the capitals of its name.

    Raises:
        StvmError: no such name, or no such preset.
    """
    settings = Settings().flat()
    rows = {row: procedure for procedure, peer in PEERS.items() for row in peer.rows}
    names = (*settings, *GROUPS, *PEERS, *rows, *OTHER_ROWS)
    found = known_name("setting", name, names, "`python -m studies settings` lists them")
    found = OTHER_ROWS.get(found, found)
    if found in settings:
        return describe(found, preset)
    if found in GROUPS:
        return list_group(found, preset)
    return list_objective(rows.get(found, found), preset)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="name of a setting, a group or an objective"
    )
    parser.add_argument(
        "--preset", type=preset_name, help=f"show its values too: {', '.join(PRESETS)}"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    print(show(options.name, options.preset) if options.name else list_all(options.preset))
    return 0
