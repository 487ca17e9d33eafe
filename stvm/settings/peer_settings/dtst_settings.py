"""Settings of procedure=dtst."""

from typing import Self

from pydantic import model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class DynamicTeacherSettings(SettingsGroup):
    """Self-training with a teacher that moves when its student got better, and pasted regions."""

    dtst_most: float = tunable_peer(
        0.8,
        grid=(0.6, 0.8, 0.9),
        search=(0.4, 0.99),
        gt=0,
        le=1,
        description="Share of the largest confidence of a class in a crop that a label needs, if "
        "the class is frequent.",
    )
    dtst_least: float = hashed_if_changed(
        0.2, ge=0, le=1, description="Least confidence that a label needs, of any class."
    )
    dtst_rare: float = hashed_if_changed(
        0.001,
        gt=0,
        description="Share of the pixels at which a class is so rare that its labels need 63 % of "
        "the confidence of a frequent class.",
    )
    dtst_negative: float = tunable_peer(
        0.5,
        grid=(0.0, 0.5, 1.0),
        search=(0.0, 2.0),
        ge=0,
        description="Weight of the loss on classes that the teacher finds unlikely.",
    )
    dtst_momentum: float = tunable_peer(
        0.01,
        grid=(0.003, 0.01, 0.03),
        search=(0.001, 0.1),
        gt=0,
        le=1,
        description="Weight of the student in an update of the teacher.",
    )
    dtst_first: int = hashed_if_changed(
        9, ge=1, description="Batches since the last update at which the student is scored again."
    )
    dtst_step: int = hashed_if_changed(
        3, ge=1, description="Batches between one such score and the next."
    )
    dtst_longest: int = hashed_if_changed(
        30, ge=0, description="Batches after which the teacher moves whatever the scores say."
    )
    dtst_rounds: int = hashed_if_changed(
        7,
        ge=1,
        description="Number of banks of regions, each from a pass over all target images; the "
        "published code makes 7 in its 20,000 iterations.",
    )
    dtst_share: float = hashed_if_changed(
        0.5,
        gt=0,
        le=1,
        description="Share of each class that is banked: its most confident pixels in the first "
        "round, later the images on which the teacher agrees most with its labels of the round "
        "before.",
    )
    dtst_classes: float = hashed_if_changed(
        0.42,
        gt=0,
        le=1,
        description="Share of the classes, those with fewest predicted pixels, whose regions are "
        "pasted; the published code names 8 of 19 classes by hand.",
    )
    dtst_pixels: int = hashed_if_changed(
        50,
        ge=1,
        description="Least banked pixels of a class in an image from which it is pasted; a region "
        "of its own needs two fifths of them.",
    )
    dtst_scale: float = hashed_if_changed(
        2.5, ge=1, description="Largest scale of a pasted region; the scale is drawn from 1 up."
    )

    @model_validator(mode="after")
    def _scores_matter(self) -> Self:
        if self.dtst_longest < self.dtst_first:
            raise ValueError(
                f"dtst_longest={self.dtst_longest} is below dtst_first={self.dtst_first}, so that "
                "no score would count: raise dtst_longest or lower dtst_first"
            )
        return self
