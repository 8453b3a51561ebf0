"""Cause faults from inside a stage; Python loads this file at start-up if its folder is in PYTHONPATH.

It counts the actions of the stage script on the working tree (files opened for writing, folders, renames, programs
started), and causes a fault at the action named in the plan `SYNTHDRIVE_FAULT`. The package's code is unchanged.
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

ACTIONS = {"os.mkdir": 0, "os.rename": 1, "subprocess.Popen": 0, "open": 0}  # index of the path in the arguments
WRITING = os.O_WRONLY | os.O_RDWR
SPARE_MEMORY = 8 << 20  # bytes that a process may still allocate once its memory is limited
OTHER_RUN_SECONDS = 90  # longest time that the other run may take
# Folders that a stage creates while it briefly holds the lock of the parent folder. If the stage were paused there, the
# other run would only wait for the lock, and the test would not show how the two runs interact.
WORK_FOLDER = re.compile(r"\..+\.(partial|scratch)-[^/]+")


class Fault:
    """The fault of one stage: when it happens according to the plan, and how it is caused."""

    def __init__(self, plan: dict) -> None:
        self.plan, self.root, self.log = plan, plan["root"], Path(plan["log"])
        self.stage = os.environ.get("DVC_STAGE", Path(sys.orig_argv[1]).stem)
        self.moment = plan["moments"].get(self.stage)
        self.started = self.saved_at = time.monotonic()
        self.save_pending = False
        self.actions: list[tuple[float, str]] = []
        self.lock = threading.Lock()
        self.over = (self.log / f"{self.stage}.fired").exists()

    def watch(self, event: str, arguments: tuple) -> None:
        """Count an action; Python calls this for every audit event."""
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
        if self.save_pending:
            self.saved_at, self.save_pending = time.monotonic(), False
        self.save_pending = event == "os.rename" and "/.run/" in path and ".partial-" not in path
        what = re.sub(r"(partial|scratch)-[^/]*", r"\1", os.path.relpath(path, self.root))
        self.actions.append((time.monotonic() - self.started, f"{event.split('.')[-1]} {what}"))
        if self.plan["kind"] == "same_stage" and event == "os.mkdir" and WORK_FOLDER.fullmatch(Path(path).name):
            return
        if self.moment and len(self.actions) == self.moment["action"] and self.moment["delay"]:
            timer = threading.Timer(self.moment["delay"], self.trigger)
            timer.daemon = True
            timer.start()
        # `>`: this run is faster than the undisturbed one, and its next action comes before the delay is over.
        elif self.moment and len(self.actions) >= self.moment["action"]:
            self.trigger()

    def trigger(self) -> None:
        """Record the moment of the fault, then cause it."""
        with self.lock:
            if self.over:
                return
            self.over = True
        now = time.monotonic()
        record = {
            "at": self.actions[-1][1],
            "seconds": now - self.started,
            "lost": now - self.saved_at,
        }
        (self.log / f"{self.stage}.fired").write_text(json.dumps(record))
        getattr(self, self.plan["kind"])()

    def kill(self) -> None:
        """Kill everything that `dvc repro` started at once, as a power failure would."""
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def kill_stage(self) -> None:
        """Kill this process only, as the kernel does with the largest process when memory runs out."""
        os.kill(os.getpid(), signal.SIGKILL)

    def interrupt(self) -> None:
        """Send the signal that Ctrl-C sends at a terminal."""
        os.killpg(os.getpgrp(), signal.SIGINT)

    def terminate(self) -> None:
        """Send the signal with which a scheduler ends a job."""
        os.killpg(os.getpgrp(), signal.SIGTERM)

    def memory(self) -> None:
        """Limit the memory of this process and those it starts to slightly more than it uses now."""
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_MEMORY, used + SPARE_MEMORY))

    def disk(self) -> None:
        """Fill the file system of the working tree."""
        descriptor = os.open(f"{self.root}/filler", os.O_CREAT | os.O_WRONLY)
        for size in (1 << 24, 1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while os.write(descriptor, bytes(size)):
                    pass
        os.close(descriptor)

    def clock(self) -> None:
        """Shift the clock, forwards or backwards."""
        Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(self.moment["jump"])

    def same_stage(self) -> None:
        """Run the same command line to its end while this one waits."""
        self._run_other(sys.orig_argv)

    def same_pipeline(self) -> None:
        """Run another `dvc repro` in the same working tree."""
        self._run_other([sys.executable, "-m", "dvc", "repro"])

    def _run_other(self, command: list[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in ("SYNTHDRIVE_FAULT", "DVC_STAGE")}
        with (self.log / f"{self.stage}.other").open("w") as output:
            try:
                done = subprocess.run(
                    command, cwd=self.root, env=environment, stdout=output, stderr=output, timeout=OTHER_RUN_SECONDS
                ).returncode
            except subprocess.TimeoutExpired:
                done = "did not end"
            output.write(f"exit status {done}\n")


def install() -> None:
    """Watch this process if it is a stage's script and a fault is planned."""
    text = os.environ.get("SYNTHDRIVE_FAULT")
    if not text or len(sys.orig_argv) < 2 or not re.fullmatch(r"(.*/)?stages/\w+\.py", sys.orig_argv[1]):
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the background jobs of a shell ignore SIGINT
    fault = Fault(json.loads(Path(text).read_text()))
    sys.addaudithook(fault.watch)
    if fault.plan["kind"] == "none":
        import atexit

        atexit.register(lambda: (fault.log / f"{fault.stage}.actions").write_text(json.dumps(fault.actions)))


install()
