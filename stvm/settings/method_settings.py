"""Settings of the paper's method: its procedure, parts, constants and readings."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable
from stvm.settings.peers import PEERS, ProcedureName


class MethodSettings(SettingsGroup):
    """The paper's method: its procedure, parts, constants and readings."""

    procedure: ProcedureName = Field(
        "adapt",
        description="STvM and its ablations (adapt), or a method to compare with, of which "
        "docs/objectives.md lists most.",
    )
    st: bool = Field(True, description="Self-training on pseudo-labels (Table IV, ST).")
    aug: bool = Field(True, description="Photometric noise on the student's input (Aug).")
    mt: bool = Field(
        True, description="Mean teacher that makes the labels (MT); without it see labeller."
    )
    mgs: bool = Field(True, description="Metric-based gradient scaling, eq. 4 and 5 (MGS).")
    mocm: bool = Field(True, description="Metric-based online ClassMix (MOCM).")

    metric_alongside: bool = Field(
        False,
        description="Metric network that is trained and measured but not used (Table VII).",
    )
    pseudo_label_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the most confident predictions that is used for training (Fig. 1).",
    )
    pseudo_label_by: Literal["class", "image"] = Field(
        "class",
        description="Pixels of which that share is taken: those of each predicted class of an "
        "image (class), or those of the whole image (image).",
    )

    n_f: int = tunable(
        128,
        grid=(32, 64, 128, 256),
        search=(32, 256),
        ge=1,
        description="Output channels of the metric network, N_f.",
    )
    constant_weight: float = hashed_if_changed(
        1.0,
        gt=0,
        le=1,
        description="Weight of every pixel without MGS; the ablation's row Control sets it.",
    )
    temperature: float = tunable(
        0.25,
        grid=(0.1, 0.25, 0.5, 1.0),
        search=(0.05, 1.0),
        gt=0,
        description="Temperature T of eq. 2.",
    )
    q_m: float = tunable(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.4),
        search=(0.05, 0.5),
        gt=0,
        lt=1,
        description="Share of most confident pixels that each class gives to metric training, q_M.",
    )
    alpha: float = tunable(
        2.0, grid=(1, 2, 4, 8), search=(0.5, 8.0), gt=0, description="Sharpness of eq. 4."
    )
    beta: float = tunable(
        0.6, grid=(0.5, 0.6, 0.7, 0.8), search=(0.3, 1.2), description="Offset of eq. 4."
    )
    tau_mocm: float = tunable(
        0.8,
        grid=(0.4, 0.6, 0.8, 1.0),
        search=(0.3, 1.2),
        gt=0,
        le=4,
        description="Largest mean distance of a patch that is kept in the bank, tau_MOCM.",
    )
    n_mocm: int = tunable(
        10,
        grid=(2, 5, 10, 15),
        search=(1, 15),
        ge=1,
        description="Patches that are pasted into each image, N_MOCM.",
    )
    buffer_size: int = Field(
        50, ge=1, description="Patches kept in the bank for each class, first in, first out."
    )

    threshold_momentum: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Weight of the old value in the moving average of the thresholds (eq. 1).",
    )
    pixels_per_class: int = Field(
        64, ge=1, description="Largest number of pixels that a class gives to one step of eq. 2."
    )
    metric_balance: Literal["rarest", "repeat"] = Field(
        "rarest",
        description="Equal numbers of pixels: as many as the rarest class has, or drawn with "
        "replacement.",
    )
    metric_floor: int = hashed_if_changed(
        0,
        ge=0,
        description="Smallest number of selected pixels with which a class takes part in a step "
        "of eq. 2.",
    )
    adabn_share: float = hashed_if_changed(
        1.0,
        gt=0,
        le=1,
        description="Share of the way from the source's batch-norm statistics to the target's, for "
        "procedure=adabn.",
    )
    start_bn: float = hashed_if_changed(
        0.0,
        ge=0,
        le=1,
        description="Share of the way from the source's batch-norm statistics to the target's, at "
        "which student, teacher and labeller start.",
    )
    student_bn: Literal["train", "statistics", "frozen", "share"] = Field(
        "train",
        description="Batch norm of the student: trained (train), with fixed weights (statistics), "
        "those of the start (frozen), or trained with statistics that stay the share start_bn of "
        "the way to the batch's (share).",
    )
    labeller: Literal["source", "student"] = Field(
        "source",
        description="Network that makes the labels without MT: the frozen source model or the "
        "student.",
    )
    labeller_bn: Literal["eval", "batch"] = Field(
        "eval",
        description="Batch norm of the labelling pass: running statistics (eval) or batch "
        "statistics.",
    )
    label_views: Literal["single", "mirrored", "scales"] = hashed_if_changed(
        "single",
        description="Views whose probabilities are averaged into a pseudo-label: the image "
        "(single), also its mirror image (mirrored), or both also at 0.75 and 1.25 of their "
        "size (scales).",
    )
    label_scale: float = hashed_if_changed(
        1.0,
        gt=0,
        le=4,
        description="Size at which the labelling network sees the images, relative to the "
        "student's; a network that was trained on larger images labels better on larger ones.",
    )
    teacher_bn: Literal["copy", "ema", "track", "keep"] = Field(
        "copy",
        description="Batch-norm statistics of the teacher: the student's (copy), averaged (ema), "
        "those of its own images (track), or those of the start (keep).",
    )
    ema_momentum: float = Field(
        1e-3, gt=0, le=1, description="Weight of the student in one update of the teacher."
    )
    ema_period: int = Field(100, ge=1, description="Iterations between updates of the teacher.")
    patch_unit: Literal["class", "component"] = Field(
        "class",
        description="Unit of a patch: a whole predicted class, or one connected part of it.",
    )
    patch_order: Literal["large_first", "random"] = Field(
        "large_first", description="Order of pasting; the last patch is on top."
    )
    patch_image: Literal["clean", "augmented"] = Field(
        "clean",
        description="Pixels that the bank keeps: the teacher's input (clean) or the student's "
        "(augmented).",
    )
    patch_max_cover: float = Field(
        1.0, gt=0, le=1, description="Largest share of the image that a pasted patch may cover."
    )
    loss_norm: Literal["pixels", "weights"] = Field(
        "pixels",
        description="Divisor of eq. 5: the number of pixels H x W, or the sum of the weights.",
    )
    aug_strength: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Strength of colour jitter in brightness, contrast and saturation; hue has "
        "half of it.",
    )
    aug_probability: float = Field(
        0.8, ge=0, le=1, description="Probability that the colours of an image are jittered."
    )
    blur_probability: float = Field(
        0.5, ge=0, le=1, description="Probability that an image is blurred."
    )

    @property
    def adapts(self) -> bool:
        """Whether a student is trained on target images without labels."""
        return self.st or self.procedure in PEERS

    @model_validator(mode="after")
    def _toggles_mean_something(self) -> Self:
        if self.procedure in PEERS:
            return self
        parts = [p for p in ("aug", "mt", "mgs", "mocm") if getattr(self, p)]
        if not self.st and parts:
            raise ValueError(
                f"{', '.join(parts)} without st has no meaning: without the self-training loss "
                "nothing is trained; add st=true or turn them off"
            )
        if self.procedure != "adapt" and self.st:
            raise ValueError(f"procedure={self.procedure} uses no self-training: set st=false")
        return self
