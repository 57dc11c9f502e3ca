"""Processes that begin where Lightning is imported: a start takes a third of a second in place of four.

A server imports the libraries, then forks for each script that a test runs. The child has its own session, folder,
environment and files as a process of ``subprocess`` has, and runs the script, or ``-c CODE`` or ``-m pytest``, as
``__main__``. Nothing of a project is imported before. What a test says about a start itself is tested with
``cold=True``, by Python from the beginning.
"""

import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import types
from array import array

LIBRARIES = ("pytorch_lightning", "pytorch_lightning.loggers", "optuna", "sqlalchemy", "hydra")
OF_A_START = ("PYTHON", "OMP_", "MKL_", "LD_", "LC_", "LANG")  # variables that are read when Python or a library starts


def is_warm(command, environment, **kwargs):
    """Return whether a command runs a script, with an environment that the server can give it."""
    is_script = command[1].endswith(".py") or command[1] == "-c" or command[1:3] == ["-m", "pytest"]
    if command[0] != sys.executable or not is_script or subprocess.PIPE in kwargs.values():
        return False
    ours = server_environment()
    names = {name for name in {*environment, *ours} if name.startswith(OF_A_START)}
    return all(environment.get(name) == ours.get(name) for name in names)


def server_environment():
    """Return the environment of the server."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class WarmProcess:
    """A running script, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid, status):
        self.pid, self.status, self.returncode = pid, status, None

    def poll(self):
        """Return the exit status, or None while the script runs."""
        if self.returncode is None and select.select([self.status], [], [], 0)[0]:
            self.read()
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit status when there is one."""
        if self.returncode is None:
            if not select.select([self.status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.read()
        return self.returncode

    def read(self):
        """Take the exit status."""
        self.returncode = int(self.status.recv(64))
        self.status.close()

    def send_signal(self, signum):
        """Send a signal, unless the script has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self):
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The process that has imported the libraries; started at the first request."""

    def __init__(self):
        self.socket = self.process = None

    def start(self, command, *, cwd, env, stdin=subprocess.DEVNULL, stdout=None, stderr=None, start_new_session=False):
        """Start a script; files and flags as those of ``subprocess.Popen``."""
        if self.socket is None:
            self.socket, theirs = socket.socketpair()
            argv = [sys.executable, __file__, str(theirs.fileno())]
            self.process = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], env=server_environment(), start_new_session=True
            )
            theirs.close()
        ours, status = socket.socketpair()
        with open(os.devnull, "r+b") as null:
            out = 1 if stdout is None else null.fileno() if stdout == subprocess.DEVNULL else stdout.fileno()
            err = 2 if stderr is None else null.fileno() if stderr == subprocess.DEVNULL else stderr
            err = out if err == subprocess.STDOUT else err if isinstance(err, int) else err.fileno()
            files = [null.fileno(), out, err, status.fileno()]
            request = {"argv": [str(word) for word in command[1:]], "cwd": str(cwd), "env": env}
            content = json.dumps(request | {"session": start_new_session}).encode()
            socket.send_fds(self.socket, [len(content).to_bytes(4, "big")], files)
            self.socket.sendall(content)
        status.close()
        return WarmProcess(int(ours.recv(64)), ours)


server = Server()


def serve(requests):
    """Fork for each request; return in the child alone, with the request."""
    while True:
        head, ancillary, _, _ = requests.recvmsg(4, socket.CMSG_SPACE(4 * array("i").itemsize))
        if not head:
            sys.exit()
        files = array("i", ancillary[0][2]).tolist()
        content = b""
        while len(content) < int.from_bytes(head, "big"):
            content += requests.recv(65536)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                return take_over(json.loads(content), files)
            report(pid, socket.socket(fileno=files[-1]))
        for file in files:
            os.close(file)


def report(pid, status):
    """Tell the test the exit status of a script when it has ended; end."""
    status.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def take_over(request, files):
    """Give this process what a process of its own has; return the words of its command line."""
    if request["session"]:
        os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    os.write(files[-1], str(os.getpid()).encode())
    for file in files:
        os.close(file)
    for signum in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    return request["argv"]


if __name__ == "__main__":
    for name in LIBRARIES:
        __import__(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.excepthook = lambda kind, error, frames: sys.__excepthook__(kind, error, frames.tb_next)
    if sys.argv[0] == "-m":
        sys.path[0], name = os.getcwd(), sys.argv.pop(1)
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif sys.argv[0] == "-c":
        sys.path[0], code = "", sys.argv.pop(1)
        exec(compile(code, "<string>", "exec"), module.__dict__)
    else:
        sys.path[0], module.__file__ = os.path.dirname(os.path.realpath(sys.argv[0])), sys.argv[0]
        with open(sys.argv[0], encoding="utf-8") as script:
            code = script.read()
        exec(compile(code, sys.argv[0], "exec"), module.__dict__)
