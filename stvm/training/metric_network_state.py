"""The metric network in the state of an interrupted trial, under the keys of earlier versions."""

from typing import Any

import torch

from stvm.method.metric_network import MetricLearner


def metric_state(metric: MetricLearner) -> dict[str, Any]:
    """Network, proxies, thresholds and the state of the draws, without the optimiser."""
    return {
        "network": metric.network.state_dict(),
        "proxies": metric.proxies.detach(),
        "thresholds": metric.thresholds.values,
        "doubts": metric.thresholds.doubts,
        "generator": metric.generator.get_state(),
    }


@torch.no_grad()
def load_metric_state(metric: MetricLearner, state: dict[str, Any]) -> None:
    """Restore what `metric_state` returned.

    Args:
        metric: Metric learner made from the same settings.
        state: State that `metric_state` of this or an earlier version returned.
    """
    device = metric.proxies.device
    metric.network.load_state_dict(state["network"])
    metric.proxies.copy_(state["proxies"])
    metric.thresholds.values = state["thresholds"].to(device)
    metric.thresholds.doubts = state["doubts"].to(device)
    metric.generator.set_state(state["generator"].cpu())
