"""The tables of `make gpu`, in Markdown to paste."""

from typing import Any

TITLES = {
    "parts": "Every part against the CPU",
    "steps": "A step over the bare mean-teacher step",
    "memory": "Peak memory of a step against the estimate",
    "deterministic": "deterministic=true, twice",
    "loader": "The loader's throughput against the step",
    "trial": "A trial of the embedded benchmark",
    "ray": "Trials of the embedded benchmark through Ray, one a GPU",
    "compile": "torch.compile",
}


def markdown(report: dict[str, Any]) -> str:
    """One table a section, each column a key of its rows."""
    lines = [_about(report["machine"]), ""]
    for name, section in report["sections"].items():
        lines += [f"### {TITLES[name]}", ""]
        told = ": ".join(part for part in (section["status"], section["message"]) if part)
        lines += [f"{told[0].upper()}{told[1:]} ({section.get('seconds', 0):.0f} s).", ""]
        if section["rows"]:
            lines += [*table(section["rows"]), ""]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of one Markdown table."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"| {' | '.join(keys)} |", f"|{' --- |' * len(keys)}"]
    return lines + [f"| {' | '.join(_shown(row.get(key)) for key in keys)} |" for row in rows]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.2e}" if value and abs(value) < 1e-2 else f"{value:.3f}"
    return str(value).replace("|", "/")


def _about(machine: dict[str, Any]) -> str:
    told = f"{machine['device']}, {machine['date']}"
    if "gpus" in machine:
        gpus, size = machine["gpus"], machine["memory_gib"]
        told += f", {gpus} GPU{'s' if gpus > 1 else ''} of {size} GiB, CUDA {machine['cuda']}"
    told += f", torch {machine['torch']}, Python {machine['python']}, {machine['cores']} cores"
    if machine["toy"]:
        told += "; toy sizes: nothing here says anything about a GPU"
    return f"{told}; {machine.get('seconds', 0):.0f} s in all."
