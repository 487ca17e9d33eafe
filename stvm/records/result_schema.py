"""The schema of a result: the findings of a done trial, field by field.

The types describe the JSON objects as they stand in a file, so nothing is converted on reading.
A field that joined later is absent from older records.
"""

from typing import Annotated, TypedDict

from stvm.records.field_about import (
    ACTIVITY,
    ASSUMED,
    CLASSES,
    FRACTION,
    MOVES,
    NATS,
    OBJECTIVES,
    SCENARIOS,
    SCORES,
    About,
)

_MIOU = About("mean IoU over the classes that have labels", FRACTION)
_IOU = About("IoU of each class; null for a class without label", FRACTION)
_ACCURACY = About("share of labelled pixels that are right", FRACTION)

Means = TypedDict(
    "Means",
    {
        "16": Annotated[
            float | None, About("mean IoU over SYNTHIA's 16 classes", FRACTION, SCENARIOS)
        ],
        "13": Annotated[
            float | None, About("mean IoU over SYNTHIA's 13 classes", FRACTION, SCENARIOS)
        ],
    },
    total=False,
)
"""Means over subsets of the classes, by the number of classes."""


class Figures(TypedDict, total=False):
    """Figures of one network on the evaluated split."""

    miou: Annotated[float, _MIOU]
    iou: Annotated[list[float | None], _IOU]
    pixel_accuracy: Annotated[float | None, _ACCURACY]
    means: Means


class MultiScale(Figures, total=False):
    """Figures of the reported network with multi-scale testing."""

    scales: Annotated[list[float], About("scales whose softmax is summed", "", SCENARIOS)]
    flip: Annotated[bool, About("whether mirrored images are summed too", "", SCENARIOS)]


class MeasuredBy(TypedDict, total=False):
    """Protocol of the evaluation."""

    name: Annotated[str, About("name of the evaluation protocol", "", SCENARIOS)]
    input_size: Annotated[list[int], About("height and width of the images", "pixels", SCENARIOS)]
    label_size: Annotated[list[int], About("height and width of the labels", "pixels", SCENARIOS)]
    align_corners: Annotated[
        bool, About("whether logits are enlarged with aligned corners", "", SCENARIOS)
    ]


class ClassCorrespondence(TypedDict, total=False):
    """Correspondence of classes; absent if source model and target have the same."""

    source: Annotated[
        list[str],
        About("names of the source model's classes, in the order of its outputs", "", CLASSES),
    ]
    target: Annotated[
        list[str | None], About("target class of each of them; null for none", "", CLASSES)
    ]
    by: Annotated[str, About("map (class_map) or names (equal names)", "", CLASSES)]
    unmatched: Annotated[
        str, About("source classes without target class: error or ignored", "", CLASSES)
    ]
    assumed: Annotated[
        str, About("data set whose class names a file without names is taken to have", "", ASSUMED)
    ]


class Ranking(TypedDict, total=False):
    """Area under the ROC curve: how well a score tells right pseudo-labels from wrong ones."""

    confidence: Annotated[float | None, About("AUROC of the confidence", FRACTION)]
    reliability: Annotated[float | None, About("AUROC of the reliability", FRACTION)]


class Scores(TypedDict, total=False):
    """Scores that need no label of the target; null where one does not apply."""

    entropy: Annotated[float | None, About("mean entropy of the predictions", NATS, SCORES)]
    information_maximisation: Annotated[
        float | None,
        About("entropy of the mean prediction minus the mean entropy", NATS, SCORES),
    ]
    soft_neighbourhood_density: Annotated[
        float | None,
        About("entropy of the similarities between predictions of pixels", NATS, SCORES),
    ]
    silhouette: Annotated[
        float | None,
        About("mean silhouette under the network's own classes", "-1 to 1", SCORES),
    ]
    agreement: Annotated[
        float | None,
        About("share of pixels with one class from student and teacher", FRACTION, SCORES),
    ]


Silhouettes = TypedDict(
    "Silhouettes",
    {
        "class": Annotated[
            list[float | None], About("mean silhouette of each class", "-1 to 1", SCORES)
        ],
        "class_mean": Annotated[
            float | None, About("mean silhouette over the classes", "-1 to 1", SCORES)
        ],
        "overall_mean": Annotated[
            float | None, About("mean silhouette over the pixels", "-1 to 1", SCORES)
        ],
    },
    total=False,
)
"""Silhouettes of the metric features under one labelling of the pixels."""


class Silhouette(TypedDict, total=False):
    """Silhouettes under the labels (for evaluation only) and under the network's own classes."""

    truth: Silhouettes | None
    prediction: Silhouettes | None


class Activity(TypedDict, total=False):
    """Means over the whole training of what each part of the method did."""

    reliability: Annotated[float, About("mean reliability", FRACTION, ACTIVITY)]
    weight: Annotated[float, About("mean weight of a pixel in the loss", FRACTION, ACTIVITY)]
    selected: Annotated[float, About("mean share of pixels selected", FRACTION, ACTIVITY)]
    metric_pixels: Annotated[
        float, About("mean pixels that a class gave to the metric network", "pixels", ACTIVITY)
    ]
    distance: Annotated[float, About("mean distance of a pixel to its class's proxy", "", ACTIVITY)]
    pasted: Annotated[float, About("mean share of the image pasted over", "", ACTIVITY)]
    rate: Annotated[float, About("mean effective learning rate", "", ACTIVITY)]
    kept: Annotated[
        float, About("mean share of pixels that an objective labels", FRACTION, OBJECTIVES)
    ]
    teacher_moves: Annotated[
        float,
        About("mean moves of a teacher in an iteration, where the objective moves it", "", MOVES),
    ]


class CurvePoint(TypedDict, total=False):
    """One iteration of the training."""

    iteration: Annotated[int, About("iterations done", "iterations")]
    loss: Annotated[float | None, About("self-training loss", NATS)]
    metric_loss: Annotated[float | None, About("loss of the metric network", NATS)]
    reliability: Annotated[float | None, About("mean reliability", FRACTION)]
    selected: Annotated[float | None, About("share of pixels selected", FRACTION)]
    metric_pixels: Annotated[
        float | None, About("pixels that a class gave to the metric network", "pixels", ACTIVITY)
    ]
    distance: Annotated[
        float | None, About("mean distance of a pixel to its class's proxy", "", ACTIVITY)
    ]
    weight: Annotated[float | None, About("mean weight of a pixel in the loss", FRACTION, ACTIVITY)]
    pasted: Annotated[float | None, About("share of the image pasted over", "", ACTIVITY)]
    banked: Annotated[float | None, About("patches banked so far", "patches", ACTIVITY)]
    rate: Annotated[float | None, About("effective learning rate", "", ACTIVITY)]
    kept: Annotated[
        float | None,
        About("share of pixels that an objective labels", FRACTION, OBJECTIVES),
    ]
    teacher_moves: Annotated[
        float | None,
        About("moves of a teacher so far, where the objective moves it", "moves", MOVES),
    ]


class WatchPoint(TypedDict, total=False):
    """Predictions on a few fixed unlabelled target images after one iteration."""

    iteration: Annotated[int, About("iterations done; 0 for the source model", "", SCORES)]
    shares: Annotated[list[float], About("share of each predicted class", FRACTION, SCORES)]
    entropy: Annotated[float | None, About("mean entropy of the predictions", NATS, SCORES)]
    information: Annotated[
        float | None, About("information maximisation, as in scores", NATS, SCORES)
    ]


class Result(TypedDict, total=False):
    """Findings of a trial; null as a whole in a record of a failed one."""

    miou: Annotated[float, _MIOU]
    iou: Annotated[list[float | None], _IOU]
    pixel_accuracy: Annotated[float | None, _ACCURACY]
    means: Means
    student: Figures
    teacher: Figures
    multi_scale: Annotated[MultiScale, About("", since=SCENARIOS)]
    protocol: MeasuredBy
    class_names: Annotated[list[str], About("names of the classes, in the order of iou")]
    correspondence: ClassCorrespondence
    evaluated: Annotated[str, About("reported network: student or teacher")]
    split: Annotated[str, About("evaluated split of the target")]
    iteration: Annotated[int, About("iterations trained; 0 without adaptation", "iterations")]
    source_val_miou: Annotated[
        float | None, About("mean IoU on held-out source images, of row Source", FRACTION)
    ]
    collapsed: Annotated[bool, About("whether the predictions fell to few classes", "", SCORES)]
    idle: Annotated[list[str], About("parts that were on and did nothing, in words", "", ACTIVITY)]
    banked: Annotated[
        list[list[int]] | None,
        About("patches of each class banked at each point of the curve", "patches", ACTIVITY),
    ]
    parts: Activity
    auroc: Ranking | None
    scores: Scores
    silhouette: Silhouette | None
    curve: list[CurvePoint]
    watch: list[WatchPoint]
