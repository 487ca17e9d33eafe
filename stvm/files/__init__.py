"""Files and folders: written whole or not at all, locked, and named; errors are one line."""

from stvm.files.atomic_files import (
    Unreadable,
    checked_name,
    drop_unfinished,
    file_sha256,
    refuse_file,
    refuse_unwritable,
    refuse_within,
    replacing,
    replacing_folder,
    unreadable,
    write_whole,
    writing,
)
from stvm.files.earlier_files import (
    FIGURE_SOFTWARE,
    names_us,
    other_file,
    refuse_other_file,
    resolution,
)
from stvm.files.json_files import SCHEMA, find_json, now, read_json, write_json
from stvm.files.saved_states import drop_state, labels_beside

__all__ = [
    "FIGURE_SOFTWARE",
    "SCHEMA",
    "Unreadable",
    "checked_name",
    "drop_state",
    "drop_unfinished",
    "file_sha256",
    "find_json",
    "labels_beside",
    "names_us",
    "now",
    "other_file",
    "read_json",
    "refuse_file",
    "refuse_other_file",
    "refuse_unwritable",
    "refuse_within",
    "replacing",
    "resolution",
    "replacing_folder",
    "unreadable",
    "write_json",
    "write_whole",
    "writing",
]
