"""`python benchmarks/full_size.py`: five full-size STvM steps on the CPU, interrupted and resumed.

The paper's two networks, batch 2 of 512x512, 19 classes, all components on. The state after
step 3 goes to disk and into a training built afresh, in which steps 4 and 5 must end with the same
weights, optimisers, patches, thresholds and generators to the bit. Weights and images are random,
the weights spread over the classes (see benchmarks/step.py), and every region is banked.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step import load_or_draw
from tabulate import tabulate
from torch import Tensor
from torch.utils._pytree import tree_flatten

from stvm.data.image_files import Uint8Array
from stvm.errors import StvmError
from stvm.method.step import StepReport
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings, parse_assignments
from stvm.training.adaptation import Training
from stvm.training.resume import TrainingCheckpoint
from stvm.training.seeding import random_states, restore_random_states

NETWORKS = ("deeplabv3_resnet50", "deeplabv2_resnet101")
CLASSES = 19
STEPS, KEPT = 5, 3
CPU = torch.device("cpu")
BASE: dict[str, Any] = {
    "dataset": "folder",
    "source_root": "none",
    "target_root": "none",
    "classes": ",".join(f"class {i}" for i in range(CLASSES)),
    "height": 512,
    "width": 1024,
    "crop_height": 512,
    "crop_width": 512,
    "ema_period": 1,
}
"""Of the presets on real images, but that the teacher follows in every one of the five steps."""


class RandomImages:
    """Images that are drawn, since there are no others here.

    Args:
        size: height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __len__(self) -> int:
        return 8

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        drawn: Uint8Array = np.random.default_rng(index).integers(
            0, 256, (*self.size, 3), dtype=np.uint8
        )
        return drawn


class Run:
    """A training, and what is noted of its steps.

    Args:
        settings: of the trial.
        source: the source model.
        batches: images (N, 3, h, w) in [0, 1], one for each step.
    """

    def __init__(
        self, settings: Settings, source: SegmentationNetwork, batches: list[Tensor]
    ) -> None:
        images = RandomImages((settings.data.height, settings.data.width))
        self.training = Training(settings, source, images, CLASSES)
        self.batches = batches
        self.reports: list[StepReport] = []
        step: Any = self.training.adaptation.step

        def noting(pixels: Tensor, iteration: int) -> StepReport:
            self.reports.append(step(pixels, iteration))
            return self.reports[-1]

        self.training.adaptation.step = noting  # type: ignore[assignment]
        noting.bank = step.bank  # type: ignore[attr-defined]

    def take(self, iteration: int) -> dict[str, Any]:
        """One step; a row of the table."""
        started = time.perf_counter()
        self.training.step(self.batches[iteration - 1], iteration)
        seconds = time.perf_counter() - started
        found = vars(self.reports[-1]).items()
        values = {name: float(value) for name, value in found if name != "banked"}
        return {
            "step": iteration,
            "loss": values["loss"],
            "metric loss": values["metric_loss"],
            "finite": all(map(math.isfinite, values.values())),
            "seconds": seconds,
            "RSS peak": f"{peak_gib():.2f} GiB",
        }

    def state(self) -> dict[str, Any]:
        """All that must be the same after a resumption."""
        return self.training.adaptation.state_dict() | {"random": random_states()}


def peak_gib() -> float:
    """Largest resident size of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def same(a: Any, b: Any) -> bool:
    """Nested states, to the bit."""
    (ours, shape), (theirs, other) = tree_flatten(a), tree_flatten(b)
    return shape == other and all(map(_same_leaf, ours, theirs))


def _same_leaf(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor):
        return bool(a == b)
    # By bytes, since a threshold of a class not met yet is nan.
    return bool(a.dtype == b.dtype and _raw(a) == _raw(b))


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


def rows_of(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """Rows of one network: five steps, and whether the last two were the same when resumed."""
    training = settings.training
    shape = (STEPS, training.batch, 3, training.crop_height, training.crop_width)
    drawn = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    batches = [batch.float() / 255 for batch in drawn]
    settings, source = load_or_draw(settings, folder, batches[0])
    checkpoint = TrainingCheckpoint(folder / "state.pt", {"hash": settings.hash()})
    run = Run(settings, source, batches)
    rows = []
    for iteration in range(1, STEPS + 1):
        rows.append({"network": settings.network.network} | run.take(iteration))
        if iteration == KEPT:
            checkpoint.save(run.training.state_dict(iteration), CPU)
    expected = run.state()
    again = Run(settings, source, batches)
    kept = checkpoint.load()
    assert kept is not None
    again.training.load_state_dict(kept)
    restore_random_states(kept["random"])
    repeated = [again.take(iteration) for iteration in range(KEPT + 1, STEPS + 1)]
    equal = same(again.state(), expected)
    for row, other in zip(rows[KEPT:], repeated, strict=True):
        alike = equal and all(row[key] == other[key] for key in ("loss", "metric loss"))
        row["resumed equal"] = "yes" if alike else "no"
    step: Any = again.training.adaptation.step
    buffers = step.bank
    patches = sum(len(buffer) for buffer in buffers.patches)
    print(f"{settings.network.network}: {patches} patches banked after step {STEPS}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a loss is not finite or a resumption differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="setting=value")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows = []
    try:
        changes = BASE | parse_assignments(options.set)
        for network in options.networks:
            settings = Settings().replace(**changes | {"network": network})
            with tempfile.TemporaryDirectory(prefix="stvm-full-size-") as folder:
                rows += rows_of(settings, Path(folder))
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(tabulate(rows, headers="keys", floatfmt=".4f"))
    fine = all(row["finite"] and row.get("resumed equal", "yes") == "yes" for row in rows)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
