"""Seeds, and the states of every global generator."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch; a process that ran another trial starts afresh."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """State of every global generator, as tensors and plain values."""
    drawn: dict[str, Any] = dict(np.random.get_state(legacy=False))
    key = torch.from_numpy(drawn["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": drawn | {"state": {"key": key, "pos": int(drawn["state"]["pos"])}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_random_states(state: dict[str, Any]) -> None:
    """Go on from what `random_states` gave."""
    random.setstate(state["python"])
    place = state["numpy"]["state"]
    key = place["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state(state["numpy"] | {"state": place | {"key": key}})
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([kept.cpu() for kept in state["cuda"]])
