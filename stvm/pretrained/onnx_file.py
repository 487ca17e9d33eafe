"""Export of a network as an ONNX file, compared with torch before it is written."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stvm.errors import StvmError, one_line
from stvm.files import write_whole
from stvm.networks import SegmentationNetwork
from stvm.networks.pyramid_pooling import PyramidPooling

_TRACED = (2, 3, 64, 96)
_CHECKED = (1, 3, 77, 133)
"""Another batch and odd sizes, so that a size fixed by the export is noticed."""
TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest logit."""

_OTHERWISE = "use --format public or --format plain"


def export_onnx(network: SegmentationNetwork, class_names: Sequence[str], out: Path) -> float:
    """Write an ONNX file: images (N, 3, H, W), RGB in [0, 1], to logits (N, C, H, W).

    N, H and W are free. The normalisation is part of the file, and its metadata name the classes.

    Returns:
        The largest difference to torch, relative to the largest logit, on an image of another size.

    Raises:
        StvmError: The packages are not installed, the file exists, the network cannot be exported,
            or its results differ from those of torch.
    """
    if out.exists():
        raise StvmError(f"{out} exists and is not overwritten: name another file with --out")
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise StvmError(
            f'--format onnx needs the package {error.name}: pip install -e ".[onnx]"'
        ) from None
    network = network.cpu().eval()
    try:
        content = _export(network, class_names)
    except Exception as error:
        raise StvmError(
            f"torch cannot export this network as ONNX ({one_line(error)}): {_OTHERWISE}"
        ) from None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _difference(network, session)
    if not difference <= TOLERANCE:
        raise StvmError(
            f"onnxruntime and torch differ by {difference:.2g} of the largest logit: nothing is "
            f"written; tell the project which versions of torch and onnxruntime these are"
        )
    write_whole(out, content)
    return difference


@contextlib.contextmanager
def _without_adaptive_pooling(network: SegmentationNetwork) -> Iterator[None]:
    """Within the block ESPNetv2 pools by products of matrices.

    torch's exporter finds no end with `adaptive_avg_pool2d` to a size that depends on the image's.
    """
    if not any(isinstance(module, PyramidPooling) for module in network.modules()):
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


def _export(network: SegmentationNetwork, class_names: Sequence[str]) -> bytes:
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    # The exporter prints its progress and warns of its own parts.
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere), _without_adaptive_pooling(network):
            program = torch.onnx.export(
                network,
                (torch.rand(_TRACED),),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": free},
                verbose=False,
            )
    assert program is not None
    program.model.metadata_props["class_names"] = "\n".join(class_names)
    program.model.metadata_props["input"] = "RGB in [0, 1], (N, 3, H, W)"
    content: bytes = program.model_proto.SerializeToString()
    return content


@torch.no_grad()
def _difference(network: SegmentationNetwork, session: Any) -> float:
    images = torch.rand(_CHECKED, generator=torch.Generator().manual_seed(0))
    expected = network(images)
    found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
