"""Temporary folders: short enough for sockets, and removed after a kill."""

import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from ray._private.ray_logging import setup_logger

from stvm.data.crops import batches
from stvm.errors import StvmError
from stvm.files import drop_unfinished, scratch
from stvm.files.scratch import RAY_BYTES, own_folder
from stvm.tune import cluster
from stvm.tune.options import RunOptions

SOCKETS = "/session_2026-11-26_02-03-53_940420_4194304/sockets/plasma_store"
"""Ray's longest path below its folder, with the largest number of a process."""


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A batch system's temporary folder, as the environment names it."""
    folder = tmp_path / "slurm_jobdir" / "1355700" / ("x" * 60)
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_a_folder_for_sockets_is_short_whatever_the_batch_system_says(long: Path) -> None:
    with own_folder(RAY_BYTES) as folder:
        assert len(f"{folder}{SOCKETS}".encode()) <= 107
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    with own_folder() as folder:
        assert folder.is_relative_to(long)


def test_a_folder_is_as_short_as_asked_for_with_its_own_name(long: Path) -> None:
    inside = []
    for most in range(len(str(long)), len(str(long)) + 40):
        with own_folder(most) as folder:
            assert len(f"{folder}") <= most
            inside.append(folder.is_relative_to(long))
    assert inside == sorted(inside) and not inside[0] and inside[-1]


def test_ray_is_started_in_a_short_folder_that_is_removed(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(cluster.ray, "init", lambda **options: given.append(options["_temp_dir"]))
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(cluster, "alive", lambda: [])
    with cluster.connected(RunOptions(None, None, None, long)):
        assert len(f"{given[0]}{SOCKETS}".encode()) <= 107 and Path(given[0]).is_dir()
    assert not Path(given[0]).exists() and not (long / "ray").exists()


def test_what_the_system_refuses_ray_is_one_line(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/ray")

    monkeypatch.setattr(cluster.ray, "init", refuse)
    with (
        pytest.raises(StvmError, match="cannot be started .*Permission denied.* RAY_TMPDIR"),
        cluster.connected(RunOptions(None, None, None, long)),
    ):
        pass


def test_rays_own_lines_are_not_shown_when_it_cannot_start(
    long: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Ray does when its dashboard comes too late; its logger is set up as `init` does."""
    logger = logging.getLogger("ray")

    def late(**options: Any) -> None:
        setup_logger(options["logging_level"], "")
        logger.error("Failed to start the dashboard")
        raise Exception("The current node has not been updated within 30 seconds")

    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    monkeypatch.setattr(cluster.ray, "init", late)
    try:
        for place, told in (("", "to keep its logs, set RAY_TMPDIR"), (str(long), f"{long}/ray")):
            monkeypatch.setenv("RAY_TMPDIR", place) if place else monkeypatch.delenv(
                "RAY_TMPDIR", raising=False
            )
            with (
                pytest.raises(StvmError, match=told),
                cluster.connected(RunOptions(None, None, None, long)),
            ):
                pass
        assert capfd.readouterr().err == ""
    finally:
        logger.removeHandler(handler)


def test_rays_errors_are_shown_again_once_it_has_started(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> None:
        setup_logger(options["logging_level"], "")

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(cluster, "alive", lambda: [])
    with cluster.connected(RunOptions(None, None, None, long)):
        logger = logging.getLogger("ray")
        assert logger.isEnabledFor(logging.ERROR) and not logger.isEnabledFor(logging.WARNING)


def test_a_machine_with_too_much_to_do_is_one_line(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(**options: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(cluster.ray, "init", late)
    with (
        pytest.raises(StvmError, match="timed out during startup.*same command again") as told,
        cluster.connected(RunOptions(None, None, None, long)),
    ):
        pass
    assert "RAY_TMPDIR" not in str(told.value)


def test_without_a_folder_that_can_be_used_one_line_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(scratch, "_OTHERS", ("/proc",))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    with pytest.raises(StvmError, match=r"file: Not a directory.*/proc: .*set TMPDIR"):
        own_folder().__enter__()


def test_a_killed_process_leaves_nothing_that_the_next_does_not_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = (
        "import os, signal\nfrom stvm.files.scratch import own_folder\n"
        "with own_folder() as folder:\n"
        "    (folder / 'session').mkdir()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    (home,) = tmp_path.iterdir()
    assert (home / "1" / "session").is_dir()
    with own_folder() as one, own_folder() as two:
        assert one.is_dir() and two.is_dir() and one != two
        assert not list(home.rglob("session"))
    assert [path.name for path in home.iterdir()] in ([], ["lock"])


def test_loading_processes_work_below_a_long_temporary_folder(long: Path) -> None:
    class Ones(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, position: int) -> torch.Tensor:
            return torch.ones(3)

    (batch,) = batches(Ones(), 2, workers=1)  # type: ignore[arg-type]
    assert batch.sum() == 6
    assert len(os.environ["TMPDIR"]) < 75


class OwnEyes:
    """A lock on a mount that does not pass it on to other machines."""

    def __init__(self, path: Path, timeout: float = -1) -> None:
        self.lock_file = path

    def __enter__(self) -> "OwnEyes":
        self.lock_file.touch()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def acquire(self) -> None:
        self.lock_file.touch()

    def release(self) -> None:
        pass


def test_a_machine_leaves_alone_what_another_has_in_a_shared_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch, "FileLock", OwnEyes)
    monkeypatch.setattr(platform, "node", lambda: "node1")
    with own_folder() as theirs:
        (theirs / "session").mkdir()
        monkeypatch.setattr(platform, "node", lambda: "node2")
        with own_folder() as ours:
            assert ours != theirs
        assert (theirs / "session").is_dir() and not ours.exists()


def test_what_a_link_leads_to_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a").write_text("x")
    with own_folder() as first:
        (first / "inside").symlink_to(precious)
        (first.parent / "77").symlink_to(precious)
    with own_folder():
        pass
    for name in (".r.json-0123abcd", ".r.json-0123abce"):
        (tmp_path / name).symlink_to(precious if name.endswith("d") else precious / "a")
    drop_unfinished(tmp_path / "r.json")
    assert (precious / "a").read_text() == "x"
