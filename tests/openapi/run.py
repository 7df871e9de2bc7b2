"""Puts the API document to the test: schemathesis sends what it allows and what it forbids to a fresh `portico dev`, and every response must
be one that it describes: no 500, no other status, content type, header or body.

    run.py [options of schemathesis run]
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The whole run takes about a minute; one that hangs ends with a failure.
PATIENCE = 600


def call(api: str, key: str, method: str, path: str, body: dict) -> dict:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(api + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def fill(api: str, key: str) -> str:
    """Makes one of everything, so that calls find something; gives the id of an API key that may be revoked."""
    sandbox = call(api, key, "POST", "/sandboxes", {"name": "first", "slug": "first", "tags": ["a"]})["data"]["id"]
    call(api, key, "PUT", f"/sandboxes/{sandbox}/env", {"vars": [{"key": "A", "value": "1"}]})
    call(api, key, "POST", f"/sandboxes/{sandbox}/previews", {"port": 3000})
    call(api, key, "POST", f"/sandboxes/{sandbox}/preview-token", {})
    return call(api, key, "POST", "/api-keys", {"label": "spare"})["data"]["id"]


def main() -> int:
    binary = os.environ.get("PORTICO_BIN", str(ROOT / "target" / "dist" / "portico"))
    schemathesis = str(pathlib.Path(sys.executable).with_name("schemathesis"))
    with tempfile.TemporaryDirectory() as data:
        ports = [word for name in ("--port", "--https-port", "--api-port", "--admin-port") for word in (name, "0")]
        command = [binary, "dev", *ports, "--json", "--data", data, "--log", "off"]
        portico = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            facts = json.loads(portico.stdout.readline())
            api, key = facts["api_url"] + "/api/v1", facts["api_key"]
            run = [schemathesis, "--no-color", "--config-file", str(HERE / "schemathesis.toml"), "run",
                   f"{api}/openapi.json", "--header", f"Authorization: Bearer {key}", *sys.argv[1:]]
            environment = {**os.environ, "SPARE_KEY": fill(api, key)}
            status = subprocess.run(run, cwd=data, env=environment, timeout=PATIENCE, check=False).returncode
            assert portico.poll() is None, "portico has ended"
            return status
        finally:
            portico.terminate()
            portico.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
