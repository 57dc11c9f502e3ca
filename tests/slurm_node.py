"""A real Slurm of one node for the tests, gone again at the end."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "sbatch", "srun", "scancel", "scontrol")
# The variables by which a cluster that the tests themselves run in would reach into this one.
FOREIGN = ("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "SINFO_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SACCT_")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}({address})
SlurmctldPort={controller_port}
SlurmdPort={node_port}
# Listen on the address of the host's name only, most often a loopback one.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root

# A job put back in the queue waits until its credential is over: for two minutes by default.
AuthType=auth/munge
AuthInfo=socket={short}/munge.socket,cred_expire=5

SlurmctldPidFile={short}/slurmctld.pid
SlurmdPidFile={short}/slurmd.pid
StateSaveLocation={short}/state
SlurmdSpoolDir={short}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log

# Nothing that needs control groups, a database or a mail server.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none

EnforcePartLimits=ALL
JobRequeue=1
ReturnToService=2
# Look for jobs to start every second, not every minute.
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Without it, a job that names no memory takes all of it, and the next one waits.
DefMemPerCPU={memory_per_cpu}

SlurmdParameters=config_overrides
NodeName={host} NodeAddr={address} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# Without accounting, which needs a database, sacct answers nothing, and submitit would not see that a job is dead.
# In its place: "-o JobID,State,NodeList --parsable2 -j 1 -j 2", of what the controller remembers for five minutes.
SACCT = """#!/bin/sh
jobs=
while [ $# -gt 0 ]; do
    if [ "$1" = -j ]; then jobs="$jobs,$2"; shift; fi
    shift
done
echo "JobID|State|NodeList"
squeue --states=all --array --noheader --format="%i|%T|%N" --jobs="${jobs#,}" 2>/dev/null
exit 0
"""


def why_not() -> str:
    """Return why no Slurm can be started here; nothing if one can."""
    if not sys.platform.startswith("linux"):
        return "Slurm runs on Linux only"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=search_path())]
    if missing:
        return f"Slurm is not installed, it lacks {', '.join(missing)} (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "only root can start a Slurm node"
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError as error:
        return f"the name of this host has no address: {error}"
    return ""


@contextmanager
def slurm_node(folder: Path) -> Iterator[dict[str, str]]:
    """Run Slurm with one node and one partition, debug; give the environment for its commands.

    Its configuration and logs are in ``folder``. Jobs that are left at the end are killed.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # The path of a socket is short, and munged wants its own in a folder that everybody may enter.
    short = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{short}/bin{os.pathsep}{search_path()}"}
    started: list[subprocess.Popen[bytes]] = []

    def daemon(*argv: str) -> None:
        with (folder / f"{argv[0]}.out").open("wb") as output:
            started.append(
                subprocess.Popen(
                    [shutil.which(argv[0], path=search_path()) or argv[0], *argv[1:]],
                    cwd=short,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # a Ctrl-C must not end the daemons before their jobs
                )
            )

    def ask(*argv: str) -> str:
        result = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
        return result.stdout.strip()

    def wait_until(ready: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not ready():
            if any(process.poll() is not None for process in started) or time.monotonic() > end:
                logs = [f"{log.name}:\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*.out"))]
                raise RuntimeError("\n".join(["Slurm did not start", *logs]))
            time.sleep(0.05)

    try:
        address = socket.gethostbyname(socket.gethostname())
        ports = free_ports(address)
        configure(folder, short, address, *ports)
        files = [f"--{name}-file={short}/munge.{name}" for name in ("key", "pid", "seed")]
        daemon("munged", "--foreground", f"--socket={short}/munge.socket", *files)
        wait_until((short / "munge.socket").exists)
        daemon("slurmctld", "-D")
        wait_until(lambda: listens(address, ports[0]))  # what finds it deaf sleeps for a second
        daemon("slurmd", "-D")
        wait_until(lambda: ask("sinfo", "--noheader", "--format=%t") == "idle")
        yield environment
    finally:
        if len(started) == 3 and all(process.poll() is None for process in started):
            with suppress(subprocess.TimeoutExpired):
                kill_jobs(ask, environment["SLURM_CONF"])
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        kill_processes(environment["SLURM_CONF"])
        shutil.rmtree(short, ignore_errors=True)


def configure(folder: Path, short: Path, address: str, controller_port: int, node_port: int) -> None:
    """Write the configuration, the key and the stand-in for sacct, and make the folders that Slurm expects."""
    cpus = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    content = CONFIGURATION.format(
        folder=folder,
        short=short,
        host=socket.gethostname().split(".")[0],
        address=address,
        controller_port=controller_port,
        node_port=node_port,
        cpus=cpus,
        memory=memory,
        memory_per_cpu=memory // cpus,
    )
    (folder / "slurm.conf").write_text(content)
    short.chmod(0o755)
    for name in ("bin", "spool", "state"):
        (short / name).mkdir()
    (short / "bin" / "sacct").write_text(SACCT)
    (short / "bin" / "sacct").chmod(0o755)
    (short / "munge.key").touch(mode=0o600)
    (short / "munge.key").write_bytes(secrets.token_bytes(128))


def kill_jobs(ask: Callable[..., str], configuration: str) -> None:
    """End every job, whatever it makes of SIGTERM: a daemon that ends leaves the processes of its jobs behind."""
    end = time.monotonic() + 60
    while (jobs := ask("squeue", "--noheader", "--format=%A").split()) and time.monotonic() < end:
        ask("scancel", "--quiet", *jobs)  # else it would start the next one, or a killed one again
        kill_processes(configuration)
        time.sleep(0.1)


def kill_processes(configuration: str) -> None:
    """Kill the processes of all jobs, also those without a parent, which Slurm does not see without control groups."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it may just have ended
            variables = environ.read_bytes().split(b"\0")
            in_job = any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
            if in_job and f"SLURM_CONF={configuration}".encode() in variables:
                os.kill(int(environ.parent.name), signal.SIGKILL)


def search_path() -> str:
    """Return PATH with the folders of the daemons, which not every root has there."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def listens(address: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


def free_ports(address: str) -> tuple[int, int]:
    """Return two free ports: both are taken at the same time, so they differ."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((address, 0))
        second.bind((address, 0))
        return first.getsockname()[1], second.getsockname()[1]
