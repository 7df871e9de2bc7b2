"""A domain of the tenant's own, by the official SDK as it is and a DNS server of the test's."""

import http.client
import os
import pathlib
import socket
import subprocess
import time

import pytest
from dnslib import QTYPE, RCODE, RR
from dnslib.server import BaseResolver, DNSServer
from miosa import Miosa
from miosa.errors import MiosaError, NotFoundError, ValidationError

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "proxy.platform.test"


class Zone(BaseResolver):
    """Responds with what stands in `records`: a name or a wildcard, to the lines of a zone file."""

    def __init__(self):
        self.records = {}

    def resolve(self, request, handler):
        reply, name = request.reply(), str(request.q.qname).rstrip(".").lower()
        labels = name.split(".")
        places = [name] + ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
        found = next((self.records[place] for place in places if place in self.records), None)
        if found is None:
            reply.header.rcode = RCODE.NXDOMAIN
        for line in found or []:
            kind = line.split()[0]
            if kind in (QTYPE[request.q.qtype], "CNAME"):
                reply.add_answer(*RR.fromZone(f"{name}. 60 IN {line}"))
        return reply


@pytest.fixture
def zone():
    resolver = Zone()
    resolver.records[TARGET] = ["A 192.0.2.1"]
    server = DNSServer(resolver, address="127.0.0.1", port=0)
    resolver.port = server.server.server_address[1]
    server.start_thread()
    yield resolver
    server.stop()
    server.server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    def __init__(self, data, zone):
        self.binary = os.environ.get("PORTICO_BIN", str(ROOT / "target" / "dist" / "portico"))
        self.data = data
        self.preview, self.api, self.admin = free_port(), free_port(), free_port()
        config = data / "portico.toml"
        config.write_text(
            f'[preview]\nlisten = "127.0.0.1:{self.preview}"\nzones = ["sandbox.platform.test"]\n'
            f'[api]\nlisten = "127.0.0.1:{self.api}"\n[admin]\nlisten = "127.0.0.1:{self.admin}"\n'
            f'[store]\ndata = "{data}"\n[dns]\nresolvers = ["127.0.0.1:{zone.port}"]\n'
            f'[networks]\nallow = ["127.0.0.0/8"]\n[domains]\ntarget = "{TARGET}"\nrecheck = 0\n'
        )
        self.operator("init")
        self.keys = [self.tenant(name) for name in ("first", "second")]
        self.process = subprocess.Popen(
            [self.binary, "serve", "--config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while self.get(self.admin, "x", "/readyz") != 200:
            assert time.monotonic() < until and self.process.poll() is None, "it does not start"
            time.sleep(0.05)

    def tenant(self, name):
        self.operator("tenant", "create", name)
        return self.operator("key", "create", "--quiet", "--tenant", name, "--label", "x").strip()

    def operator(self, *command):
        done = subprocess.run(
            [self.binary, *command, "--data", str(self.data)], capture_output=True, text=True, check=True
        )
        return done.stdout

    def client(self, which=0):
        return Miosa(api_key=self.keys[which], base_url=f"http://127.0.0.1:{self.api}")

    @staticmethod
    def get(port, host, path="/"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()


@pytest.fixture
def server(tmp_path, zone):
    server = Server(tmp_path, zone)
    yield server
    server.process.terminate()
    assert server.process.wait(timeout=30) == 0


def test_a_domain_is_set_verified_used_and_deleted(server, zone):
    client = server.client()
    domain = client.tenant.preview_domain
    assert domain.get()["status"] == "not_configured"
    with pytest.raises(NotFoundError):
        domain.verify()
    with pytest.raises(ValidationError):
        domain.set("co.uk")
    assert domain.set("opendesigns.test")["cname_target"] == TARGET
    response = domain.verify()
    assert response["verified"] is False and response["target"] == TARGET
    assert [record["status"] for record in response["records"]] == ["missing", "missing"]

    sandbox = client.sandboxes.create(name="x", slug="brand")
    assert sandbox.data["preview_domain"] == "sandbox.platform.test"
    host = "3000-brand.sandbox.opendesigns.test"
    assert server.get(server.preview, host) == 404
    zone.records["*.sandbox.opendesigns.test"] = [f"CNAME {TARGET}."]
    response = domain.verify()
    assert response["verified"] is True and domain.get()["verified_at"] == response["verified_at"]
    assert server.get(server.preview, host) == 401, "it leads to the sandbox, which is private"
    assert client.sandboxes.get(sandbox.id).data["preview_url"].startswith(f"http://{host}")
    assert domain.set("opendesigns.test")["verified_at"] == response["verified_at"], "the set-up is run again"
    assert server.get(server.admin, "x", f"/internal/tls/ask?domain={host}") == 200

    other = server.client(1).tenant.preview_domain
    with pytest.raises(MiosaError) as refused:
        other.set("opendesigns.test")
    assert refused.value.status_code == 409 and refused.value.code == "CONFLICT"
    challenge = refused.value.details["challenge"]
    zone.records[challenge["name"]] = [f'TXT "{challenge["value"]}"']
    assert other.set("opendesigns.test")["domain"] == "opendesigns.test"
    assert domain.get()["status"] == "not_configured"
    assert server.get(server.preview, host) == 404
    other.delete()
    assert other.get()["status"] == "not_configured"
