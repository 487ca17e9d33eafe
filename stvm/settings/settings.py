"""The settings of one trial as a value: checked, changed, and hashed into the trial's name."""

from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo

from stvm.errors import StvmError, unknown
from stvm.networks.known_networks import without_place
from stvm.settings.batch_norm_limits import refuse_lone_images
from stvm.settings.compute_settings import ComputeSettings
from stvm.settings.data_settings import PUBLISHED, DataSettings
from stvm.settings.evaluation_settings import EvaluationSettings
from stvm.settings.fields import SettingsGroup, is_hashed_if_changed
from stvm.settings.method_settings import MethodSettings
from stvm.settings.naming import (
    CONTENTS,
    NOT_NAMED,
    SIZED_AS_TARGET,
    SOURCE_TRAINING,
    TARGET_ONLY,
    digest,
    read_contents,
    without_idle,
)
from stvm.settings.network_settings import NetworkSettings
from stvm.settings.peer_limits import follow_procedure, refuse_idle
from stvm.settings.peers import ObjectiveSettings
from stvm.settings.protocols import find_protocol
from stvm.settings.source_settings import SourceSettings
from stvm.settings.training_settings import TrainingSettings

STREETS_VERSION = 1
"""Version of the embedded benchmark. It rises if the same arguments draw another image."""


class Settings(SettingsGroup):
    """All settings of one trial."""

    data: DataSettings = DataSettings()
    network: NetworkSettings = NetworkSettings()
    source: SourceSettings = SourceSettings()
    method: MethodSettings = MethodSettings()
    training: TrainingSettings = TrainingSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if (
            self.training.crop_height > self.data.height
            or self.training.crop_width > self.data.width
        ):
            raise ValueError(
                f"crop {self.training.crop_height}x{self.training.crop_width} is larger than the "
                f"image {self.data.height}x{self.data.width}: lower crop_height or crop_width"
            )
        crop, size = self.source_crop(), self.data.source_size()
        if crop[0] > size[0] or crop[1] > size[1]:
            raise ValueError(
                f"source crop {crop[0]}x{crop[1]} is larger than the source image "
                f"{size[0]}x{size[1]}: lower source_crop_height or source_crop_width"
            )
        return self

    @model_validator(mode="after")
    def _protocol_fits(self) -> Self:
        if self.data.dataset == "streets" and find_protocol(self.evaluation.protocol).resizes:
            raise ValueError(
                f"protocol={self.evaluation.protocol} is for targets of 2048x1024 pixels, and the "
                "embedded benchmark has a size of its own: leave protocol=image"
            )
        return self

    @model_validator(mode="after")
    def _objective_uses_them(self) -> Self:
        refuse_idle(self.model_dump())
        return self

    @model_validator(mode="after")
    def _batch_norm_has_two_images(self) -> Self:
        refuse_lone_images(self.data, self.network, self.source, self.method, self.training)
        return self

    @model_validator(mode="after")
    def _source_is_somewhere(self) -> Self:
        given = self.data.source_root or self.source.source_checkpoint
        if self.data.dataset == "folder" and not given:
            raise ValueError(
                "dataset=folder needs source_root=DIR to train a source model, or "
                "source_checkpoint=FILE"
            )
        return self

    @model_validator(mode="after")
    def _source_classes_are_used(self) -> Self:
        data = self.data
        if data.source_classes and data.dataset != "folder" and not self.source.source_checkpoint:
            raise ValueError(
                f"the source images of dataset={data.dataset} have classes of their own: leave "
                "source_classes out, or give source_checkpoint=FILE, whose classes it names"
            )
        return self

    def source_crop(self) -> tuple[int, int]:
        """Height and width of the crops of source training in pixels."""
        source, training = self.source, self.training
        return (
            source.source_crop_height or training.crop_height,
            source.source_crop_width or training.crop_width,
        )

    def flat(self) -> dict[str, Any]:
        """Values by name, without the groups, as in a record and on a command line."""
        return {k: v for group in self.model_dump(mode="json").values() for k, v in group.items()}

    def replace(self, **changes: Any) -> "Settings":
        """A copy with some settings changed and checked.

        A `procedure` that is an objective beside STvM brings its own values along.

        Raises:
            StvmError: an unknown name (with the nearest one) or a value out of range.
        """
        return self.replace_in_turn(changes)

    def replace_in_turn(self, *changes: dict[str, Any]) -> "Settings":
        """A copy with changes made one after another and checked once at the end; see `replace`."""
        groups = self.model_dump()
        for given in changes:
            placed = [(group_of(name), name, value) for name, value in given.items()]
            groups = follow_procedure(groups, given)
            for group, name, value in placed:
                groups[group][name] = value
        return build_settings(groups)

    def on_realisation(self, number: int) -> "Settings":
        """The same settings on a draw of the embedded benchmark, with its own source model."""
        return self.replace(realisation=number, source_seed=self.source.source_seed + number)

    def canonical(self) -> "Settings":
        """The same trial, with every setting that cannot matter to it at its default.

        Two studies that describe one trial by different settings then share its record.
        """
        return build_settings(without_idle(self.model_dump()))

    def hash(self) -> str:
        """Name of the trial: 12 hex digits over the settings that matter to it."""
        return digest(self.identity())

    def identity(self) -> dict[str, Any]:
        """The values that name the trial, by setting."""
        return self.canonical().naming() | self._version()

    def source_hash(self, sized_by_target: bool = False) -> str:
        """Name of the source model: a hash of the settings on which it depends.

        Args:
            sized_by_target: use the earlier form of the name, which also had the target's size.
        """
        names = [*NetworkSettings.model_fields, *SourceSettings.model_fields]
        names += [n for n in DataSettings.model_fields if n not in TARGET_ONLY]
        names += [*SOURCE_TRAINING, *ComputeSettings.model_fields]
        naming = self.naming()
        named = {name: naming[name] for name in names if name in naming}
        if self.source.source_optimizer != "sgd":
            named["momentum"] = field_of("momentum").default
        if "source_classes" in named:
            named["classes"] = named.pop("source_classes")
        if not sized_by_target:
            size, crop = self.data.source_size(), self.source_crop()
            named |= dict(zip(("height", "width"), size, strict=True))
            named |= dict(zip(("crop_height", "crop_width"), crop, strict=True))
            named = {k: v for k, v in named.items() if k not in SIZED_AS_TARGET}
        return digest(named | self._version())

    def naming(self) -> dict[str, Any]:
        """The values that may name a trial, by setting.

        Settings of loading and the folders of published data are left out. A setting that was
        added later is left out at its default. Files are named by their digest if it is known, and
        by their path otherwise.
        """
        groups = self.model_dump()
        left_out = {*NOT_NAMED, *CONTENTS} - read_contents(groups)
        published = self.data.dataset in PUBLISHED
        if published or self.data.source_train_content or self.source.checkpoint_content:
            left_out.add("source_root")
        if published or self.data.target_train_content:
            left_out.add("target_root")
        if self.source.checkpoint_content:
            left_out.add("source_checkpoint")
        if self.source.init_content:
            left_out.add("source_init")
        flat = self.flat()
        if self.network.network_content:
            flat["network"] = without_place(self.network.network)
        return {
            name: value
            for name, value in flat.items()
            if name not in left_out
            and not (is_hashed_if_changed(field_of(name)) and value == field_of(name).default)
        }

    def without_contents(self) -> "Settings":
        """The same with files named by their path alone, the earlier form of names."""
        return self.replace(**dict.fromkeys(CONTENTS, ""))

    def _version(self) -> dict[str, int]:
        return {"streets_version": STREETS_VERSION} if self.data.dataset == "streets" else {}


GROUPS: dict[str, type[SettingsGroup]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsGroup)
}
"""Groups of settings by name, in order."""
_GROUP_OF = {name: group for group, cls in GROUPS.items() for name in cls.model_fields}


def group_of(name: str) -> str:
    """The group of the setting `name`.

    Raises:
        StvmError: an unknown setting; the message proposes the nearest name.
    """
    if name in _GROUP_OF:
        return _GROUP_OF[name]
    raise unknown("setting", name, _GROUP_OF, "`python -m studies settings` lists them")


def field_of(name: str) -> FieldInfo:
    """Type, bounds, default and description of the setting `name`.

    Raises:
        StvmError: an unknown setting; the message proposes the nearest name.
    """
    return GROUPS[group_of(name)].model_fields[name]


def build_settings(groups: dict[str, dict[str, Any]]) -> Settings:
    """Settings from nested values; an error of pydantic becomes one line.

    Raises:
        StvmError: a value of the wrong type or out of range.
    """
    try:
        return Settings.model_validate(groups)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        message = first["msg"].removeprefix("Value error, ")
        if where:
            message = f"setting '{where}' is {first['input']!r}: {message}"
        raise StvmError(message) from None


def parse_assignments(items: list[str]) -> dict[str, str]:
    """A dictionary from words such as `["alpha=4", ...]`.

    Raises:
        StvmError: an item without '=', an unknown name, or a name given twice.
    """
    changes: dict[str, str] = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator:
            raise StvmError(f"'{item}' is not of the form setting=value")
        group_of(name)
        if name in changes:
            raise StvmError(f"setting '{name}' is given twice: keep one")
        changes[name] = value
    return changes
