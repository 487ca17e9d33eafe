"""The paper's method: what is done, its toggles, its constants, its open points."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable


class MethodSettings(SettingsGroup):
    """The paper's method: what is done, its toggles, its constants, its open points."""

    procedure: Literal["adapt", "adabn", "oracle"] = Field(
        "adapt", description="STvM and its ablations, or one of the two yardsticks beside them."
    )
    st: bool = Field(True, description="Self-training on pseudo-labels (Table IV, ST).")
    aug: bool = Field(True, description="Photometric noise on the student's input (Aug).")
    mt: bool = Field(True, description="A mean teacher labels (MT); else see labeller.")
    mgs: bool = Field(True, description="Metric-based gradient scaling, eq. 4 and 5 (MGS).")
    mocm: bool = Field(True, description="Metric-based online ClassMix (MOCM).")

    metric_alongside: bool = Field(
        False,
        description="Train a metric network where nothing uses it, to measure it (Table VII).",
    )
    pseudo_label_share: float = Field(
        1.0, gt=0, le=1, description="Share of most confident predictions trained on (Fig. 1)."
    )
    pseudo_label_by: Literal["class", "image"] = Field(
        "class", description="That share of each predicted class of an image, or of the image."
    )

    n_f: int = tunable(
        128, grid=(32, 64, 128, 256), search=(32, 256), ge=1, description="Metric channels N_f."
    )
    constant_weight: float = hashed_if_changed(
        1.0,
        gt=0,
        le=1,
        description="Weight of every pixel where MGS is off; the ablation's row Control sets it.",
    )
    temperature: float = tunable(
        0.25, grid=(0.1, 0.25, 0.5, 1.0), search=(0.05, 1.0), gt=0, description="T of eq. 2."
    )
    q_m: float = tunable(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.4),
        search=(0.05, 0.5),
        gt=0,
        lt=1,
        description="Share of most confident pixels a class gives to metric training, q_M.",
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
        description="Patches with a mean distance below this are banked, tau_MOCM.",
    )
    n_mocm: int = tunable(
        10, grid=(2, 5, 10, 15), search=(1, 15), ge=1, description="Patches an image, N_MOCM."
    )
    buffer_size: int = Field(
        50, ge=1, description="Patches kept for each class, first in first out."
    )

    threshold_momentum: float = Field(
        0.9, ge=0, lt=1, description="Memory of the moving average of the thresholds of eq. 1."
    )
    pixels_per_class: int = Field(
        64, ge=1, description="Most pixels a class gives to one step of eq. 2."
    )
    metric_balance: Literal["rarest", "repeat"] = Field(
        "rarest",
        description="Equal numbers: as many as the rarest class has, or draw with replacement.",
    )
    metric_floor: int = hashed_if_changed(
        0, ge=0, description="Fewest selected pixels of a class that takes part in a step of eq. 2."
    )
    student_bn: Literal["train", "statistics", "frozen"] = Field(
        "train",
        description="Batch norm of the student: all trained, statistics alone, or the source's.",
    )
    labeller: Literal["source", "student"] = Field(
        "source", description="Who labels without MT: the frozen source model or the student."
    )
    labeller_bn: Literal["eval", "batch"] = Field(
        "eval", description="Batch norm of the labelling pass: running or batch statistics."
    )
    teacher_bn: Literal["copy", "ema", "track", "keep"] = Field(
        "copy", description="BN buffers of the teacher: the student's, averaged, own, or source's."
    )
    ema_momentum: float = Field(
        1e-3, gt=0, le=1, description="Weight of the student in one update of the teacher."
    )
    ema_period: int = Field(100, ge=1, description="Iterations between updates of the teacher.")
    patch_unit: Literal["class", "component"] = Field(
        "class", description="A patch is a whole predicted class, or one connected part of it."
    )
    patch_order: Literal["large_first", "random"] = Field(
        "large_first", description="Order of pasting; what is pasted last lies on top."
    )
    patch_image: Literal["clean", "augmented"] = Field(
        "clean", description="Which pixels are banked: the teacher's input or the student's."
    )
    patch_max_cover: float = Field(
        1.0, gt=0, le=1, description="Patches larger than this share of the image are not pasted."
    )
    loss_norm: Literal["pixels", "weights"] = Field(
        "pixels", description="Eq. 5 divides by H x W; 'weights' divides by the sum of weights."
    )
    aug_strength: float = Field(
        0.25, ge=0, le=1, description="Brightness, contrast, saturation (and half of it: hue)."
    )
    aug_probability: float = Field(0.8, ge=0, le=1, description="Share of images jittered.")
    blur_probability: float = Field(0.5, ge=0, le=1, description="Share of images blurred.")

    @model_validator(mode="after")
    def _toggles_mean_something(self) -> Self:
        parts = [p for p in ("aug", "mt", "mgs", "mocm") if getattr(self, p)]
        if not self.st and parts:
            raise ValueError(
                f"{', '.join(parts)} without st has no meaning: with no self-training loss nothing "
                "is trained; add st=true or turn them off"
            )
        if self.procedure != "adapt" and self.st:
            raise ValueError(f"procedure={self.procedure} uses no self-training: set st=false")
        return self
