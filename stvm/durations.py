"""Time spans as text for people."""


def duration(seconds: float) -> str:
    """A time span as text, such as 61 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
