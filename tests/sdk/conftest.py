"""Starts the program once, and gives tests the unmodified SDK, small apps to preview, and a visitor."""

import http.client
import http.server
import json
import os
import pathlib
import subprocess
import threading
from dataclasses import dataclass

import pytest
from miosa import Miosa

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclass
class Response:
    status: int
    headers: dict
    body: str


@dataclass
class Portico:
    preview_port: int
    api_url: str
    api_key: str
    zone: str

    def visit(self, url: str, method: str = "GET", **headers: str) -> Response:
        """Visits a preview URL without following redirects. `*.localhost` is this machine; no resolver is asked."""
        scheme, rest = url.split("://", 1)
        assert scheme == "http", url
        host, slash, path = rest.partition("/")
        connection = http.client.HTTPConnection("127.0.0.1", self.preview_port, timeout=10)
        fields = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, slash + path or "/", headers=fields)
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        connection.close()
        return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, body)


@pytest.fixture(scope="session")
def portico(tmp_path_factory):
    binary = os.environ.get("PORTICO_BIN", str(ROOT / "target" / "dist" / "portico"))
    data = tmp_path_factory.mktemp("data")
    ports = [word for name in ("--port", "--https-port", "--api-port", "--admin-port") for word in (name, "0")]
    command = [binary, "dev", *ports, "--json", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    facts = json.loads(process.stdout.readline())
    port = int(facts["preview_url"].split("://")[1].split("/")[0].rsplit(":", 1)[1])
    yield Portico(port, facts["api_url"], facts["api_key"], facts["zone"])
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture
def client(portico):
    return Miosa(api_key=portico.api_key, base_url=portico.api_url)


class Echo(http.server.BaseHTTPRequestHandler):
    """Tells what reached the app."""

    def do_GET(self):
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def app():
    """The port of a small app."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
