"""Starts commands from a process that has imported everything they need: a start in a fraction of a second.

A search spends most of a short life on imports, and the processor is better spent on faults. What a command does is
the same; the process from which its workers are forked comes from here, too. Reads one request a line, JSON, and
answers with a process id; the exit code lands beside the log.
"""

import contextlib
import fcntl
import importlib
import json
import multiprocessing.util
import os
import signal
import socket
import sys
from pathlib import Path

import sitecustomize

IMPORTED = (
    "alembic.command",
    "datasets",
    "matplotlib.backends.backend_agg",
    "optuna.storages",
    "psycopg",
    "search.export.command",
    "search.storage.lease",
    "search.report.pareto_png",
    "search.run",
    "search.trials.scheduler",
    "sklearn.model_selection",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.orm",
    "trainers.train",
    "transformers.models.bert.modeling_bert",
)
"""Most of what a command imports on its way."""

OUT_OF_THE_WAY = 500
"""Descriptors from here on are in nobody's way while others take their places."""


def serve():
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            return watch_over(json.loads(line))
    return 0


def watch_over(request):
    """Start a command in a session of its own, say which process it is, and note how it ends."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        return run(**request)
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
    _, status = os.waitpid(pid, 0)
    note = Path(request["log"]).with_suffix(".part")
    note.write_text(str(os.waitstatus_to_exitcode(status)))
    note.rename(note.with_suffix(".code"))
    os._exit(0)


def run(*, module, arguments, environment, log, fresh):
    """Be the command, in this process or, if ``fresh``, in a new interpreter."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT, 0o644), 1)
    os.dup2(1, 2)
    if fresh:
        os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)
    os.environ.clear()
    os.environ.update(environment)
    for name, loaded in tuple(sys.modules.items()):
        if name.startswith("search."):
            sitecustomize.set_constants(loaded)
    keep_a_spare()
    sys.argv = [module, *arguments]
    return importlib.import_module(module).main(arguments)


def keep_a_spare():
    """Fork now, while there are no threads and no connections, what becomes the server that workers are forked from."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        become_forkserver(theirs)
    theirs.close()
    start = multiprocessing.util.spawnv_passfds

    def start_or_take_spare(path, arguments, descriptors):
        if "forkserver" not in arguments[-1] or ours.fileno() < 0:
            return start(path, arguments, descriptors)
        blocked = [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        socket.send_fds(ours, [json.dumps([arguments[-1], descriptors, blocked]).encode()], descriptors)
        ours.close()
        return pid

    multiprocessing.util.spawnv_passfds = start_or_take_spare


def become_forkserver(link):
    """Wait for the descriptors and the program text that a new interpreter would have been given."""
    message, received, _, _ = socket.recv_fds(link, 2**16, 8)
    if not message:  # the command has ended without need of workers
        os._exit(0)
    program, numbers, blocked = json.loads(message)
    link.close()
    held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, OUT_OF_THE_WAY) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for descriptor, number in zip(held, numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    exec(program, {})  # what multiprocessing would have given to ``python -c``
    os._exit(0)


if __name__ == "__main__":
    sys.exit(serve())
