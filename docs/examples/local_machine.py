#!/usr/bin/env python3
"""All five commands of Portico's `[compute]` section, with processes of this machine in the place of machines.

    create  = ["/usr/bin/python3", "/path/to/local_machine.py", "/var/lib/machines"]
    start   = (the same)      stop = (the same)      destroy = (the same)

A machine is a folder below the directory named by the argument, and a web server that shows it. Every command may come twice, or after
one that was interrupted: each looks at what is there and does what is missing.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time


def main() -> None:
    order = json.load(sys.stdin)
    sandbox = order["sandbox"]
    machine = pathlib.Path(sys.argv[1]) / sandbox["id"]
    verb = order["verb"]
    if verb == "create":
        machine.mkdir(parents=True, exist_ok=True)
        (machine / "index.html").write_text(f"<h1>{sandbox['slug']}</h1>")
    if verb in ("create", "start"):
        answer = {"upstream": f"127.0.0.1:{started(machine)}"}
    else:
        end(machine)
        if verb == "destroy":
            shutil.rmtree(machine, ignore_errors=True)
        answer = {}
    print(json.dumps(answer))


def started(machine: pathlib.Path) -> int:
    """The port of the machine's server, which is started unless it runs."""
    if not machine.is_dir():
        sys.exit(f"{machine} was never created")
    port = read(machine / "port")
    if read(machine / "pid") and port and accepts(port):
        return port
    end(machine)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(machine)],
        # Not this command's pipes: whoever holds them open has not finished answering.
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        # Not its process group either: that is killed if the command fails.
        start_new_session=True,
    )
    (machine / "pid").write_text(str(server.pid))
    (machine / "port").write_text(str(port))
    for _ in range(200):
        if accepts(port):
            return port
        time.sleep(0.05)
    sys.exit("the server did not come up")


def end(machine: pathlib.Path) -> None:
    pid = read(machine / "pid")
    if pid:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        (machine / "pid").unlink(missing_ok=True)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read(path: pathlib.Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


if __name__ == "__main__":
    main()
