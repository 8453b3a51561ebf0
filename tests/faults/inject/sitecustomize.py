"""Faults from inside a stage: Python loads this file at start-up where its folder is in PYTHONPATH.

It counts what the stage script does to the working tree (opens for writing, folders, renames, programs started) and, at
the action that `SYNTHDRIVE_FAULT` names, lets the fault happen. The product's code is as it always is.
"""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ACTIONS = {"os.mkdir": 0, "os.rename": 1, "subprocess.Popen": 0, "open": 0}  # the path's place in the event
WRITING = os.O_WRONLY | os.O_RDWR
SPARE_MEMORY = 8 << 20  # bytes that a process may still take once its memory is limited
OTHERS_SECONDS = 90
# Folders that a stage makes under the lock of their parent, which another run waits for. It is never held longer than
# that takes; a stage that stood still there would show how long the other waits, not whether the two get on.
WORK_FOLDER = re.compile(r"\..+\.(partial|scratch)-[^/]+")


class Fault:
    """One stage's fault: where it stands in the plan, and how it is done."""

    def __init__(self, plan: dict) -> None:
        self.plan, self.root, self.log = plan, plan["root"], Path(plan["log"])
        self.stage = os.environ.get("DVC_STAGE", Path(sys.orig_argv[1]).stem)
        self.moment = plan["moments"].get(self.stage)
        self.started = self.safe = time.monotonic()
        self.pending_safe = False
        self.actions: list[tuple[float, str]] = []
        self.lock = threading.Lock()
        self.over = (self.log / f"{self.stage}.fired").exists()

    def watch(self, event: str, arguments: tuple) -> None:
        """Called by Python at every auditable action."""
        if event not in ACTIONS or self.over:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        path = arguments[ACTIONS[event]]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (links stay)
        if event != "subprocess.Popen" and (not path.startswith(self.root) or "__pycache__" in path):
            return
        if self.pending_safe:
            self.safe, self.pending_safe = time.monotonic(), False
        self.pending_safe = event == "os.rename" and "/.run/" in path and ".partial-" not in path
        what = re.sub(r"(partial|scratch)-[^/]*", r"\1", os.path.relpath(path, self.root))
        self.actions.append((time.monotonic() - self.started, f"{event.split('.')[-1]} {what}"))
        if self.plan["kind"] == "same_stage" and event == "os.mkdir" and WORK_FOLDER.fullmatch(Path(path).name):
            return
        if self.moment and len(self.actions) == self.moment["action"] and self.moment["delay"]:
            timer = threading.Timer(self.moment["delay"], self.strike)
            timer.daemon = True
            timer.start()
        elif self.moment and len(self.actions) >= self.moment["action"]:  # a faster machine than when delays were taken
            self.strike()

    def strike(self) -> None:
        """Write down what is about to happen, then let it."""
        with self.lock:
            if self.over:
                return
            self.over = True
        now = time.monotonic()
        record = {
            "at": self.actions[-1][1],
            "seconds": now - self.started,
            "lost": now - self.safe,
        }
        (self.log / f"{self.stage}.fired").write_text(json.dumps(record))
        getattr(self, self.plan["kind"])()

    def kill(self) -> None:
        """Power button: everything that `dvc repro` started is gone at once."""
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def kill_stage(self) -> None:
        """What the kernel does when memory has run out: the largest process is gone, the others are not."""
        os.kill(os.getpid(), signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C at a terminal."""
        os.killpg(os.getpgrp(), signal.SIGINT)

    def terminate(self) -> None:
        """A scheduler that takes the machine back."""
        os.killpg(os.getpgrp(), signal.SIGTERM)

    def memory(self) -> None:
        """No more memory for this process and those it starts."""
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_MEMORY, used + SPARE_MEMORY))

    def disk(self) -> None:
        """Fill what is left of the file system that the working tree is on."""
        descriptor = os.open(f"{self.root}/filler", os.O_CREAT | os.O_WRONLY)
        for size in (1 << 24, 1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while os.write(descriptor, bytes(size)):
                    pass
        os.close(descriptor)

    def clock(self) -> None:
        """The clock jumps, to and fro from stage to stage."""
        Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(self.moment["jump"])

    def same_stage(self) -> None:
        """The same command line again, to its end, while this one waits."""
        self._run_other(sys.orig_argv)

    def same_pipeline(self) -> None:
        """Another `dvc repro` in the same working tree."""
        self._run_other([sys.executable, "-m", "dvc", "repro"])

    def _run_other(self, command: list[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in ("SYNTHDRIVE_FAULT", "DVC_STAGE")}
        with (self.log / f"{self.stage}.other").open("w") as output:
            try:
                done = subprocess.run(
                    command, cwd=self.root, env=environment, stdout=output, stderr=output, timeout=OTHERS_SECONDS
                ).returncode
            except subprocess.TimeoutExpired:
                done = "did not end"
            output.write(f"exit status {done}\n")


def variant() -> None:
    """Watch this process if it is a stage's script and a fault is planned."""
    text = os.environ.get("SYNTHDRIVE_FAULT")
    if not text or len(sys.orig_argv) < 2 or not re.fullmatch(r"(.*/)?stages/\w+\.py", sys.orig_argv[1]):
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    fault = Fault(json.loads(Path(text).read_text()))
    sys.addaudithook(fault.watch)
    if fault.plan["kind"] == "none":
        import atexit

        atexit.register(lambda: (fault.log / f"{fault.stage}.actions").write_text(json.dumps(fault.actions)))


variant()
