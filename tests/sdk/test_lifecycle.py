"""Sandboxes' lives by the official SDK as it is: machines by commands, filters and long lists, many at once."""

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass

import pytest
from miosa import Miosa

from conftest import ROOT

SCRIPT = ROOT / "docs" / "examples" / "local_machine.py"


def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@dataclass
class Machines:
    client: Miosa
    folder: object


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A server whose machines are made by the documentation's example."""
    binary = os.environ.get("PORTICO_BIN", str(ROOT / "target" / "dist" / "portico"))
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("machines")
    argv = json.dumps([sys.executable, str(SCRIPT), str(folder)])
    verbs = "\n".join(f"{verb} = {argv}" for verb in ("create", "start", "stop", "destroy"))
    config = data / "portico.toml"
    config.write_text(f"""
[preview]
zones = ["sandbox.localhost"]
listen = "127.0.0.1:0"
[api]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[store]
data = {json.dumps(str(data))}
[networks]
allow = ["127.0.0.0/8"]
[compute]
{verbs}
""")

    def operator(*arguments: str) -> str:
        done = subprocess.run([binary, *arguments, "--data", str(data)], capture_output=True, text=True, check=True)
        return done.stdout

    operator("init")
    operator("tenant", "create", "machines")
    key = operator("key", "create", "--quiet", "--tenant", "machines", "--label", "sdk").strip()
    process = subprocess.Popen([binary, "serve", "--config", str(config), "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    facts = json.loads(process.stdout.readline())
    client = Miosa(api_key=key, base_url=facts["api_url"])
    yield Machines(client, folder)
    for sandbox in client.sandboxes.list():
        sandbox.destroy()
    deadline = time.monotonic() + 20
    while any(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = list(folder.iterdir())
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert not left, "every machine was taken away"


def until(sandbox, state: str) -> None:
    deadline = time.monotonic() + 20
    while sandbox.refresh().state != state:
        assert time.monotonic() < deadline, sandbox.data
        time.sleep(0.1)


def test_a_sandbox_is_ready_once_its_command_has_answered(machines):
    sandbox = machines.client.sandboxes.create(name=name())
    assert sandbox.state in ("creating", "running")
    sandbox.wait_until_ready()
    assert sandbox.state == "running" and sandbox.ready
    assert sandbox.data["upstream"].startswith("127.0.0.1:")
    sandbox.pause()
    until(sandbox, "paused")
    sandbox.resume()
    until(sandbox, "running")
    sandbox.stop()
    until(sandbox, "stopped")


def test_many_are_destroyed_by_one_call(client):
    user = name()
    for _ in range(5):
        client.sandboxes.create(name=name(), external_user_id=user)
    kept = client.sandboxes.create(name=name())
    job = client.bulk.sandboxes.destroy(filter={"external_user_id": user})
    assert job["queued"] == 5
    deadline = time.monotonic() + 20
    while client.sandboxes.list(external_user_id=user):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.sandboxes.get(kept.id).state == "running"


def test_a_list_without_paging_is_everything_and_filters_narrow_it(client):
    user = name()
    for n in range(120):
        client.sandboxes.create(name=f"{user}-{n}", external_user_id=user, external_project_id=f"p{n % 2}",
                                tags=["even" if n % 2 == 0 else "odd", "all"])
    assert len(client.sandboxes.list(external_user_id=user)) == 120
    assert len(client.sandboxes.list(external_user_id=user, tags=["even", "all"])) == 60
    assert len(client.sandboxes.list(external_user_id=user, external_project_id="p1", state="running")) == 60
    assert client.sandboxes.list(external_user_id=user, state="paused") == []


def test_a_lifetime_ends_a_sandbox(client):
    sandbox = client.sandboxes.create(name=name(), timeout_sec=1)
    until(sandbox, "stopped")
    sandbox.resume()
    assert sandbox.refresh().state == "running"
