"""The Ray cluster a study runs on: started or joined, and what its nodes must share."""

import contextlib
import hashlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import stvm
from stvm.errors import StvmError
from stvm.files import writing
from stvm.files.scratch import RAY_BYTES, own_folder
from stvm.tune.options import RunOptions
from stvm.tune.slots import cpus_of

ANSWER_S = 120.0
"""A node that does not run a small task for so long is taken as out of order."""


def _answers(address: str | None) -> None:
    """Ray itself would try an address that is not there for minutes."""
    host, separator, port = (address or "").rpartition(":")
    if not separator or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise StvmError(
            f"Ray cannot be reached at {address}: {error.strerror or error}; check --address"
        ) from None


@contextlib.contextmanager
def connected(run_options: RunOptions) -> Iterator[list[dict[str, float]]]:
    """Ray, started or joined; gives the resources of the living nodes.

    Raises:
        StvmError: it cannot be reached or started.
    """
    _answers(run_options.address)
    with contextlib.ExitStack() as folders:
        options: dict[str, Any] = {}
        if not run_options.address and "RAY_TMPDIR" not in os.environ:
            # Ray's own choice is TMPDIR, which batch systems make longer than its sockets may be.
            options["_temp_dir"] = str(folders.enter_context(own_folder(RAY_BYTES)))
        with _started(run_options, options):
            yield [node["Resources"] for node in alive()]


@contextlib.contextmanager
def _started(run_options: RunOptions, options: dict[str, Any]) -> Iterator[None]:
    # If its dashboard does not start, Ray prints a page of its logs; no study needs one.
    options |= {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if run_options.address:
        options["address"] = run_options.address
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        # Without "local" Ray would join whichever cluster was last started on this machine.
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    on_request = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except Exception as error:
        # A node that starts too slowly is a bare `Exception` of Ray's.
        raise StvmError(_unstarted(run_options.address, error)) from None
    # Ray puts a handler of its own in place, which ends the process without a word of ours.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_request)
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray prints a page of its nodes' logs when one dies; what it means for a trial is told by us.
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        ray.shutdown()


def _unstarted(address: str | None, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if address:
        return f"Ray cannot be reached at {address}: {reason}; check --address"
    if "timed out" in reason:
        return (
            f"Ray cannot be started on this machine: {reason} Run the same command again when the "
            "machine has less to do"
        )
    place = os.environ.get("RAY_TMPDIR", "")
    logs = (
        f"its logs lie below {place}/ray; RAY_TMPDIR must be"
        if place
        else "to keep its logs, set RAY_TMPDIR to"
    )
    return (
        f"Ray cannot be started on this machine: {reason}; {logs} a folder that may be written to, "
        f"with a path of at most {RAY_BYTES} bytes"
    )


def alive() -> list[dict[str, Any]]:
    """The living nodes as Ray describes them."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def free_resources() -> list[dict[str, float]]:
    """Free resources of each living node."""
    by_node = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return [by_node.get(node["NodeID"], {}) for node in alive()]


def code_fingerprint(package: Path) -> str:
    """Digest of a package's Python files; a version number misses a checkout left behind."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def check_nodes(folders: Sequence[Path]) -> None:
    """Every node with cores sees these folders and runs the same code as this process.

    Args:
        folders: folders that all nodes must share; made where they are missing.

    Raises:
        StvmError: names the node and the folder or the code.
    """
    here = code_fingerprint(Path(stvm.__file__).parent)
    nodes = [node for node in alive() if cpus_of(node["Resources"])]
    with _tokens(folders) as tokens:
        ask = _asker([str(token) for token in tokens], os.getcwd())
        asked = [(_name(node), ask(node["NodeID"])) for node in nodes]
        for name, answer in asked:
            _judge(name, _answer(name, answer), here)


@contextlib.contextmanager
def _tokens(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """A file in each folder that no other folder of the same name can hold."""
    tokens = [folder.resolve() / f".shared-{secrets.token_hex(8)}" for folder in folders]
    try:
        for token in tokens:
            with writing(token.parent):
                token.touch()
        yield tokens
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _asker(tokens: list[str], directory: str) -> Callable[[str], Any]:
    """A function that starts the question on a node."""

    # Nested, so that it is sent by value: a node without stvm must still be able to answer.
    def look() -> dict[str, Any]:
        import os
        from pathlib import Path

        unseen = [str(Path(t).parent) for t in tokens if not os.path.exists(t)]
        unseen += [] if os.path.isdir(directory) else [directory]
        try:
            import stvm
            from stvm.tune.cluster import code_fingerprint
        except ImportError as error:
            return {"unseen": unseen, "code": None, "reason": str(error)}
        root = Path(stvm.__file__).parent
        return {"unseen": unseen, "code": code_fingerprint(root), "root": str(root)}

    def ask(node_id: str) -> Any:
        there = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
        return ray.remote(look).options(num_cpus=0, scheduling_strategy=there).remote()

    return ask


def _answer(name: str, reference: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = ray.get(reference, timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise StvmError(
            f"node {name} does not run a small task: {type(error).__name__}: {reason}; "
            "mend it or take it out of the cluster"
        ) from None
    return answer


def _judge(name: str, answer: Mapping[str, Any], here: str) -> None:
    """An answer as an error, where it is one."""
    if answer["unseen"]:
        raise StvmError(
            f"folder {answer['unseen'][0]} is not the same on node {name}: all nodes must share "
            "the folder the study is started in, --results and --cache; put them on shared "
            "storage, at the same path on every node"
        )
    if answer["code"] is None:
        raise StvmError(
            f"node {name} cannot import stvm: {answer['reason']}; install it there or share the "
            "folder and environment the study is started in"
        )
    if answer["code"] != here:
        raise StvmError(
            f"node {name} has another stvm in {answer['root']} than this one: install the same "
            "there, or share the folder the study is started in"
        )
