"""The common part of all studies: base settings, those of a realisation, and the study itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from stvm.errors import StvmError
from stvm.settings import Settings
from stvm.settings.presets import Preset, find_preset
from stvm.settings.protocols import find_protocol
from stvm.study import Study, Trial, base_of

T = TypeVar("T", int, str)

TOGGLES = ("st", "aug", "mt", "mgs", "mocm")
VARIED = (*TOGGLES, "procedure", "seed", "realisation", "workers")
"""Settings that every study varies itself, and `workers`, which changes no result."""


class StudyBuilder:
    """A preset with changed settings, from which a study lists its trials.

    Args:
        preset_name: name of the preset.
        changes: settings given by the user.
        realisations: draws of the embedded benchmark; None for the preset's own.
        varied: settings that this study varies beside those in `VARIED`.

    Attributes:
        settings: settings of the preset with the changes.
        numbers: realisations, each once.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies,
            realisations given for data that have none.
    """

    def __init__(
        self,
        preset_name: str,
        changes: dict[str, str],
        realisations: Sequence[int] | None,
        varied: Sequence[str] = (),
    ) -> None:
        self.preset: Preset = find_preset(preset_name)
        self.preset_name = preset_name
        self.changes = changes
        self.varied = (*VARIED, *varied)
        refuse_varied(changes, self.varied)
        self.settings = self.preset.settings(**changes)
        if self.settings.data.dataset != "streets" and realisations:
            raise StvmError(
                "--realisations are draws of the embedded benchmark: leave them out with "
                "dataset=folder"
            )
        self.numbers = unique(realisations or [self.preset.realisation])

    def at(self, number: int) -> Settings:
        """The settings on a realisation."""
        return self.settings.on_realisation(number)

    def seeded(self, seeds: Iterable[int]) -> Iterator[tuple[int, int, Settings]]:
        """Realisation, seed and settings, for every seed of every realisation."""
        for number in self.numbers:
            for seed in unique(seeds):
                yield number, seed, self.at(number).replace(seed=seed)

    def trial(self, row: str, seed: int | None, number: int, settings: Settings) -> Trial:
        """A trial of the study."""
        return Trial(row, seed, number, number in self.preset.tuned, settings)

    def study(
        self, name: str, table: int, about: str, trials: Iterable[Trial], **facts: Any
    ) -> Study:
        """The study as a value.

        Args:
            name: name of its command.
            table: number of the paper's table; 0 for none.
            about: title in a word or two.
            trials: trials in the order in which they run.
            facts: further values that its reports need.
        """
        overrides = describe_changes(self.changes)
        return Study(
            name=name,
            table=table,
            preset=self.preset_name,
            base=base_of(self.settings, self.varied),
            title=f"{about}, preset {self.preset_name}{overrides}",
            rule=evaluation_rule(self.settings),
            dataset=self.settings.data.dataset,
            trials=tuple(trials),
            facts=facts,
            shared=self.settings,
            varied=self.varied,
            given=tuple(self.changes),
        )


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Changed settings as text for a title, without the folders of the data."""
    return "".join(f" {n}={v}" for n, v in changes.items() if not n.endswith("_root"))


def unique(values: Iterable[T]) -> list[T]:
    """The values in their order, each once."""
    return list(dict.fromkeys(values))


def refuse_varied(changes: dict[str, str], varied: Sequence[str] = VARIED) -> None:
    """Refuse a change of a setting that the study itself varies.

    Raises:
        StvmError: there is one.
    """
    for name in changes:
        if name in varied and name != "workers":
            raise StvmError(
                f"'{name}' is what this study varies: leave it out, or use --seeds, --realisations"
            )


def evaluation_rule(settings: Settings) -> str:
    """A sentence on how every row is measured."""
    network = {
        "teacher": "the teacher (without MT: the student)",
        "student": "the student",
    }[settings.training.evaluated]
    protocol, data = find_protocol(settings.evaluation.protocol), settings.data
    also = f"; {protocol.multi_scale_sentence()}" if settings.evaluation.multi_scale else ""
    return (
        f"Every row that adapts: {network} after the last of {settings.training.iterations} "
        f"iterations. All rows: mIoU over the target's {settings.training.eval_split} split, "
        f"{protocol.sentence(data.height, data.width)}{also}; nothing is selected by target "
        "labels."
    )
