"""Descriptions of the fields of a record: text, unit, and the date since when they are written."""

from dataclasses import dataclass

FIRST = "2026-11-24"
"""Date of the first records."""
SCORES = "2026-11-24 23:47"
"""Scores without labels, silhouettes, the collapse watch, and trials that resume."""
SCENARIOS = "2026-11-25"
"""Protocols, means over subsets of the classes, and facts of the source model."""
ACTIVITY = "2026-11-26"
"""Activity of each part of the method, and names of trials by the content of files."""
MEMORY = "2026-11-26 15:30"
"""Peak memory of a trial."""
NETWORKS = "2026-11-26 08:40"
"""Networks beyond the first three."""
CLASSES = "2026-11-26 09:00"
"""Correspondence of the source model's classes to the target's."""
OBJECTIVES = "2026-11-26 13:00"
"""Objectives beside STvM."""
MOVES = "2026-11-26 18:40"
"""Moves of a teacher that an objective moves itself."""
ASSUMED = "2026-11-26 15:20"
"""Origin of class names that nothing gives."""

FRACTION = "fraction of 1"
NATS = "nats"


@dataclass(frozen=True)
class About:
    """Description of a field for people.

    Attributes:
        text: noun phrase that stands alone.
        unit: unit of the numbers; empty for text and names.
        since: date of the first records with the field.
    """

    text: str
    unit: str = ""
    since: str = FIRST
