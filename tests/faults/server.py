"""A process that has imported everything and started nothing: it forks a process for each command.

A fresh Python spends most of a tiny run's time on imports. Everything after them is as in a process of its own: JAX
starts, locks know the process's number, signals arrive, and the interpreter ends as it does. The server makes each
process an orphan, which falls to the harness (a "subreaper"), so that the harness itself reads how it ended.

Lines of JSON come in at standard input, as `processes.Request`; numbers of processes go out.
"""

import faulthandler
import importlib
import json
import os
import resource
import runpy
import signal
import sys

PRELOADED = (
    *("experiments.train", "experiments.evaluate", "experiments.sample", "experiments.report.__main__"),
    *("genjax.train.fit", "tensorboardX.summary", "tensorboardX.event_file_writer", "sklearn.datasets"),
    *("tests.faults.driver",),
)
_FRESH = (
    "import faulthandler, runpy, signal, sys; faulthandler.register(signal.SIGUSR1); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""What a process that imports everything itself runs."""


def main():
    """Serves until standard input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"{threads} threads after the imports: forks of this process could hang")
    print("ready", flush=True)
    while line := sys.stdin.buffer.raw.readline():  # without a buffer, which the forked would share
        run = _fork(json.loads(line))
        if run is not None:
            return run()
    return None


def _fork(request):
    """None in the server; in the new process what it is to do."""
    read, write = os.pipe()
    middle = os.fork()
    if middle:
        os.close(write)
        os.waitpid(middle, 0)  # by now the new process is the harness's
        print(int(os.read(read, 20)), flush=True)
        os.close(read)
        return None
    pid = os.fork()
    if pid:
        os.write(write, str(pid).encode())
        os._exit(0)
    os.close(read)
    os.close(write)
    return _prepare(request)


def _prepare(request):
    """Files, limits and variables of the new process; returns what it runs."""
    descriptors = [os.open(os.devnull, os.O_RDONLY)]
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    descriptors += [_output(request["stdout"], log), log]
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
    os.environ.update(request["environment"])
    if request["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
    module, arguments = request["module"], request["arguments"]
    if request["fresh"]:
        os.execv(sys.executable, [sys.executable, "-c", _FRESH, module, *arguments])
    faulthandler.register(signal.SIGUSR1)
    if cache := request["environment"].get("JAX_COMPILATION_CACHE_DIR"):
        import jax

        jax.config.update("jax_compilation_cache_dir", cache)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    return lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)


def _output(path, log):
    """A descriptor for standard output: the log, a file, or a pipe that nobody reads ("|")."""
    if path is None:
        return log
    if path != "|":
        return os.open(path, os.O_WRONLY | os.O_CREAT)
    read, write = os.pipe()
    os.close(read)
    return write


if __name__ == "__main__":
    main()
