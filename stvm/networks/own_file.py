"""A network from a Python file of the user: `network=FILE.py:FUNCTION`.

The function gets the number of classes. It returns F and C, or F, C and a function that makes
heads, or a dictionary of the arguments of `wrap_network`. The code runs only because the user named
it.
"""

import hashlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stvm.errors import StvmError, one_line
from stvm.networks.architecture import Architecture
from stvm.networks.known_networks import NETWORKS
from stvm.networks.segmentation_network import SegmentationNetwork
from stvm.networks.wrapping import wrapped

_RETURNS = "return features and classifier, or a dictionary of the arguments of stvm.wrap_network"
_ARGUMENTS = ("features", "classifier", "head", "mean", "std", "bgr")
_OUTPUTS = 7
"""Outputs of the head with which a network is tried."""
_SIZE = (64, 96)
"""Height and width of the images with which a network is tried."""


def own_network(architecture: Architecture) -> SegmentationNetwork:
    """The network that the user's function returns, tried on two small images.

    Raises:
        StvmError: The file or the function is missing, its name is taken, the code fails, or what
            it returns does not fit together or the classes.
    """
    place, _, function = architecture.network.rpartition(":")
    source = _read(Path(place))
    content = hashlib.sha256(source).hexdigest()
    if architecture.content not in ("", content):
        raise StvmError(
            f"{place}: the file differs from the one that was named or trained with (SHA-256 "
            f"{architecture.content[:12]}): restore it, or name the new one in a new study"
        )
    _refuse_taken(Path(place), function)
    build = _function(place, source, function)
    given = _called(architecture.network, build, architecture.num_classes)
    described = replace(architecture, content=content)
    try:
        network = wrapped(described, **given)
    except (TypeError, ValueError) as error:
        raise StvmError(f"{architecture.network}: {one_line(error)}; {_RETURNS}") from None
    _try(architecture.network, network, architecture.num_classes)
    return network


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StvmError(f"network: no file {path}: name an existing FILE.py:FUNCTION") from None
    except OSError as error:
        raise StvmError(f"network: cannot read {path}: {error.strerror or error}") from None


def _refuse_taken(path: Path, function: str) -> None:
    """Refuse names by which the network could be taken for another one or for a package."""
    for name in (path.stem, function):
        if name in NETWORKS:
            raise StvmError(
                f"network={path}:{function}: '{name}' is the name of a network here: choose another"
            )
    spec = None if path.stem == "__init__" else _spec(path.stem)
    if spec and not (spec.origin and Path(spec.origin).resolve() == path.resolve()):
        raise StvmError(
            f"network={path}:{function}: '{path.stem}' is the name of an installed module, which "
            "its code may mean by it: rename the file"
        )


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _function(place: str, source: bytes, function: str) -> Callable[..., Any]:
    """Run the file and take the function; what it prints goes to the standard error."""
    # A name of its own: the file can neither hide another module nor be taken for one.
    name = f"stvm_own_{hashlib.sha256(source).hexdigest()[:12]}"
    module = types.ModuleType(name)
    module.__file__ = place
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        raise StvmError(f"{place}: the file fails with {_told(error, place)}") from None
    found: Callable[..., Any] | None = getattr(module, function, None)
    if found is None or not callable(found):
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_"]
        has = f"it has {', '.join(own)}" if own else "it has none"
        raise StvmError(f"{place} has no function '{function}': {has}")
    return found


def _called(network: str, build: Callable[..., Any], classes: int) -> dict[str, Any]:
    """What the function returns, as arguments of `wrap_network`."""
    try:
        with redirect_stdout(sys.stderr):
            given = build(classes)
    except (Exception, SystemExit) as error:
        place = network.rpartition(":")[0]
        raise StvmError(f"{network}({classes}) fails with {_told(error, place)}") from None
    if isinstance(given, tuple | list) and len(given) in (2, 3):
        given = dict(zip(_ARGUMENTS, given, strict=False))
    if not isinstance(given, Mapping) or not {"features", "classifier"} <= given.keys():
        raise StvmError(f"{network}({classes}) returns {type(given).__name__}: {_RETURNS}")
    if unknown := given.keys() - set(_ARGUMENTS):
        raise StvmError(f"{network}({classes}) returns '{min(map(str, unknown))}': {_RETURNS}")
    for name in ("features", "classifier"):
        if not isinstance(given[name], nn.Module):
            kind = type(given[name]).__name__
            raise StvmError(f"{network}: {name} is a {kind} and no torch.nn.Module: {_RETURNS}")
    return dict(given)


def _told(error: BaseException, place: str) -> str:
    """An exception in one line, with the last line of the user's file in which it arose."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == place:
            line = trace.tb_lineno
        trace = trace.tb_next
    return one_line(error) + (f" (line {line})" if line else "")


@torch.no_grad()
def _try(name: str, network: SegmentationNetwork, classes: int) -> None:
    """Pass two images of one colour each; the random generator stays as it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    images = torch.stack([torch.full((3, *_SIZE), value) for value in (0.3, 0.7)])
    with torch.random.fork_rng([]), redirect_stdout(sys.stderr):
        features = _maps(f"{name}: features", network.extract, images)
        given = f"given features {_shape(features)},"
        scores = _maps(f"{name}: classifier, {given}", network.classifier, features)
        if scores.shape[1] != classes:
            raise StvmError(
                f"{name}: classifier gives {scores.shape[1]} channels in place of {classes}, as "
                f"many as classes: let its last layer have as many outputs as the function is given"
            )
        head = _part(f"{name}: head", lambda: network.new_head(_OUTPUTS).eval())
        # The default is a copy of C, which does not fit if C adds the outputs of two layers.
        what = f"{name}: head (return a function that makes heads as the third value), {given}"
        embedded = _maps(what, head, features)
        if embedded.shape[1:] != (_OUTPUTS, *scores.shape[2:]):
            raise StvmError(
                f"{name}: head gives {_shape(embedded)} for {_OUTPUTS} outputs, and the classifier "
                f"gives {_shape(scores)}: make it like the classifier, with other outputs"
            )
    for module, training in modes:
        module.training = training
    places = [v.data_ptr() for v in network.state_dict().values() if v.numel()]
    if len(places) != len(set(places)):
        raise StvmError(f"{name}: two layers share a weight, which a file cannot keep: copy it")


def _part(what: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        made = make()
    except StvmError as error:
        raise StvmError(f"{what}: {error}") from None
    except Exception as error:
        raise StvmError(f"{what} fails with {one_line(error)}") from None
    if not isinstance(made, nn.Module):
        raise StvmError(f"{what} is a {type(made).__name__} and no torch.nn.Module")
    return made


def _maps(what: str, function: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    """The output of a module, after a look at its form."""
    try:
        found = function(given)
    except StvmError as error:
        raise StvmError(f"{what}: {error}") from None
    except Exception as error:
        raise StvmError(f"{what} fails on a batch of 2 with {one_line(error)}") from None
    if not isinstance(found, Tensor) or found.dim() != 4 or len(found) != 2:
        kind = _shape(found) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise StvmError(f"{what} gives {kind} for 2 images: it must give maps (2, channels, h, w)")
    if not found.is_floating_point() or not bool(found.isfinite().all()):
        raise StvmError(f"{what} gives values that are not finite numbers: look at its weights")
    return found


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
