"""What the chaos suite puts into every process of a command: a ledger, and a fault at a named point.

Python itself imports this file, first of all, where its folder is on PYTHONPATH: in the search, in the processes
that it starts, and not in the product's own files.

Environment:
    CHAOS_FOLDER: Each process appends what it does to a ledger of its own there, synced to the disk line by line.
        The file ``armed`` there becomes ``fired`` in the one process, of all, that meets the fault.
    CHAOS_POINT: Where the fault strikes: ``before`` or ``after`` one of the names in ``WATCHED``.
    CHAOS_ACTION: What it is; a key of ``ACTIONS``.
    CHAOS_NTH: At which visit of a process to the point; the first one is 1.
    CHAOS_STEP_SECONDS: How long each training step takes longer than it needs.
    CHAOS_CONSTANTS: JSON, the product's constants by module, in place of its own: nobody waits for minutes.
    CHAOS_HOST: Name of the machine, if it shall not be the real one.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import multiprocessing
import os
import pathlib
import platform
import signal
import sys
import time

SETUP = ("freeze_depth", "dropout", "head_width", "learning_rate", "patience")
WATCHED = {
    "optuna.study.study": {"Study.ask": "ask", "Study.tell": "tell", "Study.enqueue_trial": "enqueue"},
    "search.trials.objective": {"Attempt.__init__": "suggest", "Attempt.evaluated": "report"},
    "search.storage.lease": {"Lease._take": "lease"},
    "trainers.fit.loop": {"_Fit._step": "step", "fit": "fit"},
    "trainers.fit.feature_files": {"FeatureWriter.write": "features"},
    "transformers.modeling_utils": {"PreTrainedModel.save_pretrained": "save"},
}
"""Functions by module, each with the name of its points."""

CONSTANTS = {"search.trials.peak": {"PEAK_SECONDS": 0.01, "PEAK_SIZE": 64}}
"""A search measures the processor for seconds; faults need not wait for that."""

visits = {}


def folder():
    return pathlib.Path(os.environ["CHAOS_FOLDER"])


def note(event, **details):
    """Append to this process's ledger; it is on the disk before anything else happens."""
    line = json.dumps({"event": event, "pid": os.getpid(), **details}) + "\n"
    descriptor = os.open(folder() / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.fsync(descriptor)
    os.close(descriptor)


def reach(point, *arguments):
    """Let the fault strike if this is its point, its visit, and no other process was first."""
    if point != os.environ.get("CHAOS_POINT"):
        return
    visits[point] = visits.get(point, 0) + 1
    if visits[point] < int(os.environ["CHAOS_NTH"]):
        return
    with contextlib.suppress(FileNotFoundError):
        (folder() / "armed").rename(folder() / "fired")
        note("fault", point=point, action=os.environ["CHAOS_ACTION"])
        ACTIONS[os.environ["CHAOS_ACTION"]](*arguments)


def kill_this_process(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_search(*_):
    os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)


def wait_for_go(*_):
    while not (folder() / "go").exists():
        time.sleep(0.01)


def run_out_of_memory(*_):
    raise MemoryError


def run_out_of_accelerator_memory(*_):
    import torch

    raise torch.OutOfMemoryError("out of memory")


def lose_all_weights(fit, *_):
    """Make each weight NaN, as a step that went too far does; the next loss is NaN, too."""
    import torch

    with torch.no_grad():
        for weights in fit.network.parameters():
            weights.fill_(float("nan"))


def hang(*_):
    while True:
        time.sleep(1)


ACTIONS = {
    "hang": hang,
    "kill": kill_this_process,
    "kill search": kill_search,
    "wait": wait_for_go,
    "memory": run_out_of_memory,
    "accelerator memory": run_out_of_accelerator_memory,
    "nan": lose_all_weights,
}


def watch(function, name):
    """Make a function's beginning and end points, and write into the ledger what came of it."""
    inner = RECORDERS.get(name, lambda function: function)(function)

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        reach(f"before {name}", *arguments)
        result = inner(*arguments, **options)
        reach(f"after {name}", *arguments)
        return result

    return wrapper


def record_ask(ask):
    def wrapper(*arguments, **options):
        trial = ask(*arguments, **options)
        note("asked", number=trial.number)
        return trial

    return wrapper


def record_tell(tell):
    def wrapper(*arguments, **options):
        trial = tell(*arguments, **options)
        note("told", number=trial.number, state=trial.state.name, value=trial.value)
        return trial

    return wrapper


def record_fit(fit):
    def wrapper(config, *arguments, **options):
        setup = {key: getattr(config, key) for key in SETUP}
        with alone(setup):
            note("fit began", setup=setup)
            result = fit(config, *arguments, **options)
            note("fit ended", setup=setup, validation_accuracy=result.validation_accuracy)
        return result

    return wrapper


def slow_down(step):
    def wrapper(*arguments):
        time.sleep(float(os.environ["CHAOS_STEP_SECONDS"]))
        return step(*arguments)

    return wrapper


@contextlib.contextmanager
def alone(setup):
    """Hold a lock on a setup, which ends with the process at the latest; note it if another process holds it."""
    name = hashlib.sha256(json.dumps(setup).encode()).hexdigest()[:16]
    with (folder() / f"{name}.lock").open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read()
            if not stands_still(holder):
                note("overlap", setup=setup, holder=holder)
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def stands_still(pid):
    """Tell whether a process is stopped, as on a machine that sleeps, or has just ended."""
    try:
        return pathlib.Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"
    except FileNotFoundError:
        return True


RECORDERS = {"ask": record_ask, "tell": record_tell, "fit": record_fit, "step": slow_down}


def set_constants(module):
    """Put the suite's constants in the place of a module's own."""
    wanted = CONSTANTS | json.loads(os.environ.get("CHAOS_CONSTANTS", "{}"))
    vars(module).update(wanted.get(module.__name__, {}))


class Watcher:
    """Finds a module of ``WATCHED`` as usual, and wraps its functions before anybody else has them."""

    def find_spec(self, name, _path, _target=None):
        if not name.startswith(("search.", "trainers.")) and name not in WATCHED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            set_constants(module)
            for path, point in WATCHED.get(name, {}).items():
                *owner, attribute = path.split(".")
                place = functools.reduce(getattr, owner, module)
                setattr(place, attribute, watch(getattr(place, attribute), point))

        spec.loader.exec_module = exec_module
        return spec


def watch_replacing():
    """Make points of every file that is put in the place of another: ``before replacing report.json``."""
    replace = pathlib.Path.replace

    def wrapper(self, target):
        name = pathlib.Path(target).name
        reach(f"before replacing {name}")
        result = replace(self, target)
        reach(f"after replacing {name}")
        return result

    pathlib.Path.replace = wrapper


def name_machine():
    """Let the machine have the name that the environment gives it."""
    node = platform.node
    platform.node = lambda: os.environ.get("CHAOS_HOST") or node()


sys.meta_path.insert(0, Watcher())
watch_replacing()
name_machine()
