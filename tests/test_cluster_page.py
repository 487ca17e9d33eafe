"""The scripts of docs/cluster.md run unchanged, as far as one machine can."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPTS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
MANIFESTS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

PYTHON = """#!/bin/sh
echo "python $*" >> "$CALLS"
[ -z "$LIST" ] || exec {python} "$@" $LIST
"""
SRUN = """#!/bin/sh
# Options that the real one takes; then the command, here and not on another node.
while [ "${1#--}" != "$1" ]; do
  case "$1" in --nodes=*|--ntasks=*|--nodelist=*|--exclude=*) shift ;; *) exit 64 ;; esac
done
exec "$@"
"""
SCONTROL = """#!/bin/sh
[ "$1 $2" = "show hostnames" ] && printf 'node1\\nnode2\\nnode3\\n'
"""
RAY = """#!/bin/sh
echo "ray $*" >> "$CALLS"
case "$*" in *--block*) exec /bin/sleep 30 ;; esac
"""
SLEEP = """#!/bin/sh
# No longer than the Ray that was started before takes to say so.
echo >> "$CALLS.sleeps"
until [ "$(grep -c 'ray start' "$CALLS")" -ge "$(wc -l < "$CALLS.sleeps")" ]; do
  /bin/sleep 0.05
done
"""
KUBECTL = """#!/bin/sh
echo "kubectl $*" >> "$CALLS"
case "$1" in
  get) echo pod/stvm-head ;;
  exec) shift 3; exec "$@" ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment with stand-ins first on the path, in a folder like the one of the page."""
    stand_ins = {
        "python": PYTHON.replace("{python}", sys.executable),
        "srun": SRUN,
        "scontrol": SCONTROL,
        "ray": RAY,
        "sleep": SLEEP,
        "kubectl": KUBECTL,
    }
    (tmp_path / "bin").mkdir()
    for name, text in stand_ins.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    work = tmp_path / "work"
    (work / ".venv" / "bin").mkdir(parents=True)
    # Activation puts the environment's programs first; here the stand-ins stay there.
    (work / ".venv" / "bin" / "activate").write_text(f'PATH="{tmp_path}/bin:$PATH"\n')
    for name in ("studies", "stvm", "reports"):
        (work / name).symlink_to(ROOT / name)
    return {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CALLS": str(tmp_path / "calls"),
        "HOME": str(tmp_path),
        "LIST": "--list",
        "SLURM_SUBMIT_DIR": str(work),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_CPUS_PER_TASK": "8",
    }


def run(script: str, machine: dict[str, str]) -> tuple[str, list[str]]:
    """Output, and calls of the stand-ins."""
    work = machine["SLURM_SUBMIT_DIR"]
    done = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=work, env=machine, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    calls = Path(machine["CALLS"])
    return done.stdout, calls.read_text().splitlines() if calls.exists() else []


def script(words: str) -> str:
    (found,) = [text for text in SCRIPTS if words in text]
    return found


def test_every_script_is_one() -> None:
    assert len(SCRIPTS) == 8
    for text in SCRIPTS:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_an_array_of_drivers_lists_the_study(machine: dict[str, str]) -> None:
    said, calls = run(script("#SBATCH --array"), machine)
    assert "19 trials: 0 recorded" in said
    assert calls == ["python studies/ablation.py --seeds 0 1 2 --results results --cache .cache"]
    assert not Path("/tmp/ray-4711").exists(), "what Ray left on the node's disk is taken away"


def lists(calls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of this project that were called run here with --list, in this process."""
    ours = [shlex.split(line)[1:] for line in calls if line.startswith("python studies/")]
    assert ours
    for script, *arguments in ours:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, "argv", [script, *arguments, "--list"])
            runpy.run_path(str(ROOT / script), run_name="__main__")
        assert end.value.code == 0, capsys.readouterr().err
    capsys.readouterr()


def test_a_ray_cluster_in_a_job_is_started_joined_and_ended(
    machine: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, calls = run(script("ray start --head"), machine | {"LIST": ""})
    ray = {line for line in calls if line.startswith("ray ")}
    assert ray == {
        "ray start --head --port=24711 --num-cpus=8 --include-dashboard=false --block",
        "ray start --address=node1:24711 --num-cpus=8 --block",
    }
    (driver,) = [line for line in calls if line.startswith("python ")]
    assert driver.endswith("--address node1:24711")
    lists(calls, capsys)


def test_the_other_commands_run_with_their_options(
    machine: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine["LIST"] = ""
    _, calls = run(script("ray up"), machine)
    up, inside, down = [line for line in calls if line.startswith("ray ")]
    assert (up, down) == ("ray up --yes cluster.yaml", "ray down --yes cluster.yaml")
    run(inside.partition("cd /shared/stvm && .venv/bin/")[2], machine)
    for words in ("kubectl apply", "--list missing", "optuna_search.py", "taskset"):
        run(script(words), machine)
    _, calls = run(script("studies status"), machine)
    assert "kubectl apply -f raycluster.yaml" in calls
    assert [line for line in calls if line.startswith("python")][-1] == (
        "python -m studies status --results results"
    )
    assert sum(line.startswith("python studies/") for line in calls) == 6
    lists(calls, capsys)


def test_manifests_are_what_their_readers_expect() -> None:
    up, kube = (yaml.safe_load(text) for text in MANIFESTS)
    from ray.autoscaler._private.util import prepare_config, validate_config

    # As `ray up` fills it in before it looks.
    validate_config(prepare_config(up))
    assert kube["kind"] == "RayCluster"
    head = kube["spec"]["headGroupSpec"]["template"]["spec"]
    (group,) = kube["spec"]["workerGroupSpecs"]
    worker = group["template"]["spec"]
    for pod in (head, worker):
        (container,) = pod["containers"]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
