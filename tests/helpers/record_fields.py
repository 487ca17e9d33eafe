"""Fields of a record as its file has them, held against the schema."""

from typing import Any, Literal, get_args, get_origin

from stvm.records.schema import list_fields, without_null

SCHEMA = {field.name: field.kind for field in list_fields()}
OBJECTS = {name.rpartition(".")[0].removesuffix("[]") for name in SCHEMA}
"""Objects and lists of objects, which are null where a part of the method is off."""


def fields_of(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Dotted name and value of every field; settings stay whole."""
    if isinstance(tree, dict) and path != "settings":
        return [
            found
            for name, value in tree.items()
            for found in fields_of(value, f"{path}.{name}" if path else name)
        ]
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        return [found for item in tree for found in fields_of(item, f"{path}[]")]
    return [(path, tree)]


def faults(record: dict[str, Any]) -> list[str]:
    """Fields that the schema does not know or that are of another type."""
    return [
        f"{name}: {value!r}"
        for name, value in fields_of(record)
        if not ((value is None or value == []) and name in SCHEMA.keys() | OBJECTS)
        and not (name in SCHEMA and _is_of(value, SCHEMA[name]))
    ]


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        inner = without_null(get_args(kind)[0])
        return isinstance(value, list) and all(v is None or _is_of(v, inner) for v in value)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is dict:
        return isinstance(value, dict)
    numbers = (int, float) if kind is float else kind
    return isinstance(value, numbers) and (kind is bool or not isinstance(value, bool))
