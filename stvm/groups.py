"""The groups of settings: typed, frozen, one sentence each, checked on entry.

A setting that answers a question the paper leaves open says so in `docs/paper.md`.
`grid` beside a default holds the paper's Table V values, `search` the range of a search.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


def tunable(
    default: Any, *, grid: tuple[float, ...], search: tuple[float, float], **kw: Any
) -> Any:
    """A field with its Table V values and its search range beside the default."""
    return Field(default, json_schema_extra={"grid": list(grid), "search": list(search)}, **kw)


class Group(BaseModel):
    """A frozen group of settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Group):
    """Which images, and how large."""

    dataset: Literal["streets", "folder"] = Field(
        "streets", description="Embedded procedural benchmark, or folders of your own."
    )
    realisation: int = Field(0, ge=0, description="Draw of the embedded benchmark: its own images.")
    height: int = Field(64, ge=16, description="Height in pixels every image is resized to.")
    width: int = Field(128, ge=16, description="Width in pixels every image is resized to.")
    source_images: int = Field(2000, ge=1, description="Embedded source training images.")
    target_images: int = Field(800, ge=1, description="Embedded unlabelled target images.")
    eval_images: int = Field(200, ge=1, description="Embedded images in each val and test split.")
    gap: float = Field(1.0, ge=0.0, le=1.0, description="Style distance of the embedded target.")
    source_root: str = Field("", description="Folder data: root of the labelled source images.")
    target_root: str = Field("", description="Folder data: root of the target images.")
    classes: str = Field("", description="Folder data: 'id:name,...' or 'name,...' from id 0.")

    @model_validator(mode="after")
    def _folder_needs_roots(self) -> Self:
        if self.dataset == "folder" and not (self.target_root and self.source_root):
            raise ValueError("dataset=folder needs source_root=DIR and target_root=DIR")
        if self.dataset == "folder" and not self.classes:
            raise ValueError("dataset=folder needs classes=road,sidewalk,... or classes=0:road,...")
        return self


class NetworkSettings(Group):
    """The segmentation network of source model, student and teacher."""

    network: Literal["small_deeplab", "deeplabv3_resnet50"] = Field(
        "small_deeplab", description="Architecture; the metric network copies its classifier."
    )
    channels: int = Field(64, ge=8, description="small_deeplab: channels of the features.")


class SourceSettings(Group):
    """How the source model is trained; it is cached under the hash of these and the data's."""

    source_checkpoint: str = Field(
        "", description="State dict to start from; without one the source model is trained."
    )
    source_seed: int = Field(0, ge=0, description="Seed of the source model.")
    source_iterations: int = Field(3500, ge=1, description="Iterations of source training.")
    source_batch: int = Field(8, ge=1, description="Images a source batch.")
    source_lr: float = Field(0.02, gt=0, description="Learning rate of source training.")
    source_augment: float = Field(
        0.0, ge=0, le=1, description="Strength of photometric augmentation in source training."
    )
    source_scale: float = Field(
        0.0, ge=0, lt=1, description="Source images are zoomed in by up to 1/(1 - this)."
    )
    source_rare: float = Field(
        0.0, ge=0, le=1, description="Share of source crops centred on a class drawn uniformly."
    )
    source_balance: float = Field(
        0.0, ge=0, le=1, description="Power of (median frequency / frequency) that weighs a class."
    )


class MethodSettings(Group):
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
    student_bn: Literal["train", "frozen"] = Field(
        "train", description="Batch norm of the student: trained on the target, or the source's."
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


class TrainingSettings(Group):
    """The optimisation of the student and of the metric network (section IV-B)."""

    seed: int = Field(0, ge=0, description="Seed of everything random in the trial.")
    iterations: int = Field(
        1000, ge=1, description="Iterations of adaptation; the last is reported."
    )
    batch: int = Field(2, ge=1, description="Target images a batch.")
    crop_height: int = Field(64, ge=16, description="Height of the random crop in pixels.")
    crop_width: int = Field(64, ge=16, description="Width of the random crop in pixels.")
    lr: float = Field(2.5e-4, gt=0, description="Learning rate of the feature extractor.")
    head_lr_factor: float = Field(10.0, gt=0, description="Classifier's rate over the extractor's.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay of SGD.")
    metric_lr: float = Field(3e-4, gt=0, description="Adam's rate for metric network and proxies.")
    poly_power: float = Field(0.9, ge=0, description="Power of the polynomial decay.")
    evaluated: Literal["student", "teacher"] = Field(
        "student", description="Network reported; without MT the teacher is the student."
    )
    eval_split: Literal["val", "test"] = Field("test", description="Split that is reported.")
    workers: int = Field(0, ge=0, description="Processes that load target images.")
