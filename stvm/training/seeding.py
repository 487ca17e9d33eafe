"""Seeds and saved states of the global random generators: Python, NumPy and torch."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch; earlier trials in the same process have no effect."""
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
    """Restores what `random_states` returned."""
    random.setstate(state["python"])
    place = state["numpy"]["state"]
    key = place["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state(state["numpy"] | {"state": place | {"key": key}})
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([kept.cpu() for kept in state["cuda"]])
