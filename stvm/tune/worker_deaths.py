"""Reasons why a worker did not end by itself, in words."""


def reason_of_death(error: str) -> str:
    """One line for a worker that did not end by itself, and what to do.

    Args:
        error: error as Ray gives it.
    """
    text = " ".join(error.split())
    low = text.lower()
    where = f" on {text.split('ip: ')[1].split()[0]}" if "ip: " in text else ""
    if "running low on memory" in low or "memory usage threshold" in low:
        return (
            f"its process was stopped by Ray{where}, where memory ran out: fewer trials at a time "
            "(--cpus-per-trial), or smaller crops"
        )
    if "node has died" in low or "node was terminated" in low or "nodediederror" in low:
        return f"its node died{where}: look at that machine, then run again"
    if "is unavailable" in low:
        return f"its process or node{where} cannot be reached any more: look there, then run again"
    if "worker process has died" in low or "worker unexpectedly exits" in low:
        return (
            f"its process was killed or crashed{where}: look for the out-of-memory killer in "
            "dmesg there, then run again"
        )
    return f"its process ended{where}: {text[:200] or 'Ray gives no reason'}"
