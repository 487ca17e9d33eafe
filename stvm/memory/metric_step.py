"""A step of the metric network whose size does not depend on the contents of its tensors."""

from collections.abc import Callable

import torch
from torch import Tensor

from stvm.method.metric_network import MetricLearner, MetricOutput


def learning(metric: MetricLearner) -> Callable[[Tensor, Tensor, Tensor, Tensor], MetricOutput]:
    """`train_step` with the largest number of pixels; the real draw depends on contents."""
    number = len(metric.proxies) * metric.pixels_per_class

    def learn(features: Tensor, labels: Tensor, confidence: Tensor, _: Tensor) -> MetricOutput:
        drawn = torch.zeros(number, dtype=torch.long)
        # The activations are freed before the student's pass, so they do not count with its own.
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            distances, loss, used = metric.train_on_pixels(features, labels, (drawn, drawn, drawn))
        return MetricOutput(distances, loss, confidence.mean(), used)

    return learn
