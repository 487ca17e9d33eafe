"""The schema of a record: every field with its type, unit and the date since when it is written.

`docs/records.md` shows the list of these fields; `python -m stvm.records.schema` prints it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import (
    Annotated,
    Any,
    Literal,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from stvm.records.field_about import (
    ACTIVITY,
    FIRST,
    FRACTION,
    MEMORY,
    NETWORKS,
    SCENARIOS,
    SCORES,
    About,
)
from stvm.records.result_schema import Result


class Failure(TypedDict, total=False):
    """Reason of a failed trial; null in a record of a done one."""

    error: Annotated[str, About("message of the error")]
    iteration: Annotated[int, About("iteration whose loss is not finite", "iterations")]
    seed: Annotated[int, About("seed of the training")]


class SourceModel(TypedDict, total=False):
    """Source model that the trial started from."""

    sha256: Annotated[str, About("SHA-256 of its file", "", SCENARIOS)]
    family: Annotated[str, About("family of the checkpoint", "", SCENARIOS)]
    network: Annotated[str, About("name of the network", "", SCENARIOS)]
    branches: Annotated[str, About("dilated branches of DeepLabV2: two or four", "", SCENARIOS)]
    backbone: Annotated[str, About("form of DeepLabV2's backbone", "", SCENARIOS)]
    width: Annotated[float, About("width of ESPNetv2", "", NETWORKS)]
    classes: Annotated[int, About("number of classes", "classes", SCENARIOS)]
    auxiliary: Annotated[bool, About("whether it has an auxiliary head", "", SCENARIOS)]
    normalisation: Annotated[str, About("normalisation of its images", "", SCENARIOS)]
    origin: Annotated[str, About("family of the file it was trained or kept from", "", SCENARIOS)]
    init_sha256: Annotated[
        str, About("SHA-256 of the weights its training began from", "", SCENARIOS)
    ]
    miou: Annotated[
        float, About("mean IoU of the source model, once its own trial is done", FRACTION,
                     SCENARIOS)
    ]  # fmt: skip


class StateOf(TypedDict, total=False):
    """Machine on which the state of an interrupted trial was kept."""

    device: Annotated[str | None, About("device before the interruption", "", SCENARIOS)]
    threads: Annotated[int | None, About("threads before the interruption", "", SCENARIOS)]


class Run(TypedDict, total=False):
    """Circumstances of the run."""

    started: Annotated[str, About("time of the start", "ISO 8601, UTC")]
    seconds: Annotated[float, About("time from start to result", "seconds")]
    peak_memory_mib: Annotated[
        int,
        About("peak memory: of tensors on a GPU, growth of the process on the CPU", "MiB", MEMORY),
    ]
    device: Annotated[str, About("cpu, or name of the GPU")]
    threads: Annotated[int, About("threads of torch on the CPU", "threads")]
    stvm: Annotated[str, About("version of stvm")]
    torch: Annotated[str, About("version of torch")]
    python: Annotated[str, About("version of Python")]
    network_package: Annotated[
        str, About("package that builds the network, with its version", "", NETWORKS)
    ]
    source_sha256: Annotated[str, About("SHA-256 of the source model's file")]
    source: SourceModel
    images_sha256: Annotated[str | None, About("digest of names and sizes of the user's images")]
    images_content: Annotated[
        str | None, About("digest of the content of the user's images", "", ACTIVITY)
    ]
    resumed_from: Annotated[
        int, About("iteration at which an interrupted trial resumed", "iterations", SCORES)
    ]
    state_of: StateOf
    state_set_aside: Annotated[
        str, About("path of a kept state that could not be used", "", SCENARIOS)
    ]


Status = Literal["done", "failed"]


class RecordFile(TypedDict, total=False):
    """A file `records/HASH.json`, whole."""

    schema: Annotated[int, About("number of the schema: 1")]
    hash: Annotated[str, About("name of the trial: 12 hex digits")]
    status: Annotated[Status, About("done or failed")]
    settings: Annotated[
        dict[str, Any], About("all settings by name: `python -m studies settings` explains them")
    ]
    result: Result | None
    failure: Failure | None
    run: Run
    variant: Annotated[str, About("label of the trial for people")]


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        name: dotted path in the file, with `[]` after a list of objects.
        kind: Python type of the JSON value, without null.
        about: description for people.
    """

    name: str
    kind: Any
    about: About


def list_fields(kind: Any = RecordFile, prefix: str = "", since: str = FIRST) -> Iterator[Field]:
    """Every field of an object of the schema, in order, those of the objects in it included.

    Args:
        kind: typed dictionary.
        prefix: path of the object with a dot, or empty.
        since: date of the first records with the object.
    """
    for name, hint in get_type_hints(kind, include_extras=True).items():
        about = get_args(hint)[1] if get_origin(hint) is Annotated else About("")
        inner = without_null(get_args(hint)[0] if get_origin(hint) is Annotated else hint)
        joined = max(since, about.since)
        if is_typeddict(inner):
            yield from list_fields(inner, f"{prefix}{name}.", joined)
        elif get_args(inner) and is_typeddict(get_args(inner)[0]):
            yield from list_fields(get_args(inner)[0], f"{prefix}{name}[].", joined)
        else:
            yield Field(f"{prefix}{name}", inner, replace(about, since=joined))


def without_null(kind: Any) -> Any:
    """A type without the None of a union."""
    kinds = [part for part in get_args(kind) if part is not type(None)]
    return kinds[0] if type(None) in get_args(kind) and len(kinds) == 1 else kind


def markdown() -> str:
    """The fields as a Markdown table."""
    lines = ["| field | type | unit | since | meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | {type_name(f.kind)} | {f.about.unit} | {f.about.since} | {f.about.text} |"
        for f in list_fields()
    ]
    return "\n".join(lines) + "\n"


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_SEVERAL = {str: "texts", int: "whole numbers", float: "numbers"}


def type_name(kind: Any) -> str:
    """A type in words, as JSON has it."""
    if get_origin(kind) is list:
        inner = without_null(get_args(kind)[0])
        return f"list of {_SEVERAL.get(inner) or type_name(inner).replace('list', 'lists', 1)}"
    if get_origin(kind) is Literal:
        return "text"
    return _NAMES.get(kind, "object")


if __name__ == "__main__":
    print(markdown(), end="")
