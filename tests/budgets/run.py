"""What a request may cost, as budgets: instructions, allocations and system calls of the worker that serves it.

    run.py            compares, and fails where more is spent than is allowed, or so much less that the budget is out of date
    run.py --write    writes what was measured down as the budgets
    run.py --train    only asks, many times over: what packaging/pgo has a profile written of

The program as it is shipped (`PORTICO_BIN`, or target/dist/portico) is started with one worker, once under callgrind and once under strace, and
is asked for a few hundred of each kind of request, one after another on a kept connection. Times say nothing on a shared machine; these
counts do: they do not depend on its load, on addresses or on process ids.
"""

import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

from work import App, Program, works

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUDGETS = HERE / "budgets.json"
# Requests are counted by the batch; one that warms up comes first.
BATCHES = 4
# How often a program that is profiled is asked for the whole.
ROUNDS = 20
# A run that hangs ends with a failure.
PATIENCE = 60
# How much more than its budget a figure may be, and how much less, as parts of it; what is less is a gain that has to be written down. The
# least of the batches' instructions differs from run to run by less than 1%: by the worker's clock, by the seeds of hash maps, and by whether
# the thread that writes the log has to be woken. Allocations and system calls are whole numbers, and the same in every run.
TOLERANCE = {"instructions": (0.05, 0.10), "allocations": (0.0, 0.10), "system calls": (0.0, 0.10)}
# But how much of a large body there is to read depends on how fast both sides are.
FLICKERS = {
    ("1 MiB download", "instructions"): (0.15, 0.25),
    ("1 MiB download", "allocations"): (0.15, 0.25),
    ("1 MiB download", "system calls"): (0.25, 0.35),
}
# Functions that give memory: of mimalloc, which Rust asks, and of the C library, which C asks.
ALLOCATES = re.compile(r"^(mi_\w*(alloc|calloc)\w*|malloc|calloc|realloc|aligned_alloc|posix_memalign|memalign)(@.*|'\d+)?$")
WITHIN = re.compile(r"^_?(mi_|malloc|calloc|realloc|aligned_alloc|posix_memalign|memalign|_int_|_mid_|sysmalloc|tcache)")


class Started:
    """The program under another one, with one worker and an access log."""

    def __init__(self, under: list, directory: pathlib.Path) -> None:
        binary = os.environ.get("PORTICO_BIN", str(ROOT / "target" / "dist" / "portico"))
        ports = [word for name in ("--port", "--https-port", "--api-port", "--admin-port") for word in (name, "0")]
        logs = ["--log-format", "json", "--log", "info", "--log-file", str(directory / "log")]
        command = [*under, binary, "dev", *ports, "--workers", "1", "--json", "--data", str(directory / "data"), *logs]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        limit = threading.Timer(PATIENCE, self.end)
        limit.start()
        line = self.process.stdout.readline()
        limit.cancel()
        assert line, f"portico does not start, and has ended with {self.process.wait(PATIENCE)}"
        try:
            self.program = Program(json.loads(line), App())
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def end(self) -> None:
        # Strace ends with what it traces, but would leave it running if it were ended itself; valgrind is one process with it.
        own = self.process.pid
        children = pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
        ends = [int(child) for child in children] or [own]
        for end in (signal.SIGTERM, signal.SIGKILL):
            for process in ends:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
                return


def batches(program: Program, counted):
    """Does every work in batches, the first of which warms up; `counted()` gives what was counted since it was last called."""
    for name, ask, count, prepare in works(program):
        figures = []
        for batch in range(BATCHES + 1):
            if prepare:
                prepare(count)
            if prepare or not batch:
                counted()
            for _ in range(count):
                ask()
            figure = counted()
            if batch:
                figures.append((figure, count))
        yield name, figures


# Callgrind. It writes a file for each thread; only the worker's counts: the control plane has a clock of its own, and the log is written by a
# thread that runs when it likes. Between two dumps lie the requests of a batch and nothing else, so no difference has to be taken.

class Callgrind:
    def __init__(self, process: subprocess.Popen, directory: pathlib.Path) -> None:
        self.process, self.directory, self.dumps, self.worker = process, directory, 0, None

    def counted(self) -> "tuple[int, int]":
        # The last response is out a moment before its request is done with.
        time.sleep(0.02)
        subprocess.run(["vgdb", f"--pid={self.process.pid}", "dump"], check=True, timeout=PATIENCE,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.dumps += 1
        paths = self.directory.glob(f"callgrind.{self.dumps}-*")
        threads = {path.name.rpartition("-")[2]: path.read_text() for path in paths}
        assert threads, "callgrind has written nothing"
        # The first dump is that of the start; the worker is the thread that does most of the work after that.
        if self.dumps == 2:
            self.worker = max(threads, key=lambda thread: total(threads[thread]))
        dump = threads.get(self.worker, "")
        return total(dump), allocations(dump)


def total(dump: str) -> int:
    found = re.search(r"^totals: (\d+)", dump, re.MULTILINE)
    return int(found.group(1)) if found else 0


def allocations(dump: str) -> int:
    """Calls into the allocators from outside of them."""
    names, function, called, calls = {}, "", "", 0
    for line in dump.splitlines():
        # `fn=(12) name` names the function that is described, `cfn=(12)` one that it calls; the name is given the first time only.
        found = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line)
        if found:
            name = names.setdefault(found[2], found[3]) if found[3] else names[found[2]]
            function, called = (function, name) if found[1] else (name, called)
        elif line.startswith("calls=") and ALLOCATES.match(called) and not WITHIN.match(function):
            calls += int(line[6:].split()[0])
    return calls


def under_callgrind(directory: pathlib.Path) -> dict:
    under = ["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={directory}/callgrind"]
    found = {}
    with Started(under, directory) as started:
        callgrind = Callgrind(started.process, directory)
        for name, figures in batches(started.program, callgrind.counted):
            # The worker looks at its deadlines every 50 ms, whoever asks: the batch with the least of that is nearest to the truth.
            found[name] = {"instructions": round(min(figure[0] / count for figure, count in figures)),
                           "allocations": round(statistics.median(figure[1] / count for figure, count in figures))}
    assert any(figures["allocations"] for figures in found.values()), "no allocator was seen: has the binary its symbols?"
    return found


# Strace. It names the thread of every call, and the worker names itself.

class Strace:
    def __init__(self, path: pathlib.Path) -> None:
        self.file = open(path, encoding="utf-8", errors="replace")
        self.worker = None

    def counted(self) -> Counter:
        # What a request does after its response is out, and the lines that tell of it.
        time.sleep(0.05)
        calls = Counter()
        for line in self.file.read().splitlines():
            thread, _, call = line.partition(" ")
            call = call.strip()
            if call.startswith('prctl(PR_SET_NAME, "worker-0"'):
                self.worker = thread
            # `<... name resumed>` is the end of a call that was counted when it began.
            found = re.match(r"(\w+)\(", call)
            if thread == self.worker and found:
                calls[found[1]] += 1
        return calls


def under_strace(directory: pathlib.Path) -> dict:
    path = directory / "strace"
    found = {}
    with Started(["strace", "-f", "-qq", "-o", str(path)], directory) as started:
        strace = Strace(path)
        for name, figures in batches(started.program, strace.counted):
            names = sorted(set().union(*(calls for calls, _ in figures)))
            of = {call: statistics.median(calls[call] / count for calls, count in figures) for call in names}
            found[name] = {"system calls": round(sum(of.values())), "by name": {call: n for call, n in of.items() if n}}
        assert strace.worker, "no thread called itself worker-0"
    return found


def measure() -> dict:
    """The figures of each kind of request."""
    found = {}
    for under in (under_callgrind, under_strace):
        with tempfile.TemporaryDirectory() as directory:
            for name, figures in under(pathlib.Path(directory)).items():
                found.setdefault(name, {}).update(figures)
    return found


def train() -> None:
    with tempfile.TemporaryDirectory() as directory, Started([], pathlib.Path(directory)) as started:
        for _ in range(ROUNDS):
            for _ in batches(started.program, lambda: None):
                pass


def judge(measured: dict, budgets: dict) -> "tuple[list, list]":
    """A table of all figures, and what is wrong with them."""
    lines, wrong = [], []
    for name in {**budgets, **measured}:
        for figure, (margin, stale) in TOLERANCE.items():
            margin, stale = FLICKERS.get((name, figure), (margin, stale))
            budget, value = budgets.get(name, {}).get(figure), measured.get(name, {}).get(figure)
            verdict = "ok"
            if budget is None or value is None:
                verdict = "no budget: run.py --write" if budget is None else "not measured"
            elif value > budget * (1 + margin):
                verdict = "OVER"
            elif value < budget * (1 - stale):
                verdict = "far below: lower the budget (run.py --write)"
            allowed = "" if budget is None else f"{budget * (1 + margin):,.0f}"
            lines.append((name, figure, "" if value is None else f"{value:,}", allowed, "" if budget is None else f"{budget:,}", verdict))
            if verdict != "ok":
                wrong.append(f"{name}: {figure}: {verdict}")
    return lines, wrong


def show(lines: list) -> None:
    lines = [("of one", "figure", "measured", "allowed", "budget", "verdict"), *lines]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for name, figure, *numbers, verdict in lines:
        right = "  ".join(f"{number:>{width}}" for number, width in zip(numbers, widths[2:]))
        print(f"{name:<{widths[0]}}  {figure:<{widths[1]}}  {right}  {verdict}")


def main() -> int:
    if sys.argv[1:] == ["--train"]:
        train()
        return 0
    missing = [tool for tool in ("valgrind", "vgdb", "strace") if not shutil.which(tool)]
    if missing or platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        print(f"missing: {', '.join(missing) or 'Linux on x86-64, whose instructions are counted'}", file=sys.stderr)
        return 1
    measured = measure()
    calls = {name: figures.pop("by name") for name, figures in measured.items()}
    if sys.argv[1:] == ["--write"]:
        BUDGETS.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"written: {BUDGETS}")
    lines, wrong = judge(measured, json.loads(BUDGETS.read_text()))
    show(lines)
    print("\nSystem calls by name:")
    for name, of in calls.items():
        print(f"  {name}: {', '.join(f'{count:.2f} {call}' for call, count in of.items())}")
    if wrong:
        print("\nNot within the budgets:", *wrong, sep="\n  ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
