"""The table in docs/api.md that says which calls of the SDK work, held to the SDK: every call is made, and returns what its row says."""

import pathlib
import re
import uuid

import httpx
import pytest
from miosa import Miosa
from miosa.errors import MiosaError

from every_call import NOBODY, calls, make

TABLE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "api.md"


def rows():
    """Whether a call is supported, by the name or the beginning of the names in the table."""
    text = TABLE.read_text().split("<!-- The table of SDK calls", 1)[1].split("<!-- End of the table", 1)[0]
    found = {}
    for line in text.splitlines():
        cells = line.split(" | ")
        if line.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[name] = cells[1]
    assert len(found) > 100
    return found


def row_of(name, table):
    fits = [row for row in table if row == name or row.endswith("*") and name.startswith(row[:-1])]
    assert fits, f"{name} is not in the table"
    return max(fits, key=lambda row: (row == name, len(row)))


class Wire:
    """A client whose responses are seen."""

    def __init__(self, portico):
        self.client = Miosa(api_key=portico.api_key, base_url=portico.api_url, max_retries=0, timeout=5)
        self.seen = []
        self.client._transport._client.event_hooks["response"] = [self.look]

    def look(self, response):
        kind = response.headers.get("content-type", "")
        body = response.read().decode() if kind == "application/json" else ""
        self.seen.append((response.request.method, response.request.url.path, response.status_code, body))


@pytest.fixture
def wire(portico):
    with_hooks = Wire(portico)
    yield with_hooks
    with_hooks.client.close()


def test_every_call_does_what_the_table_says(portico, wire):
    table, used, silent, wrong = rows(), set(), [], []

    def judge(name, call):
        row = row_of(name, table)
        used.add(row)
        wire.seen.clear()
        make(name, call)
        if not wire.seen:
            silent.append(name)
            return
        for method, path, status, body in wire.seen:
            is_absent = status == 501 and '"NOT_SUPPORTED"' in body
            is_unknown = status == 405 or "There is no such endpoint" in body
            told = f"{name}: {method} {path}: {status} {body[:120]}"
            if is_unknown or (is_absent and table[row] != "501"):
                wrong.append(told)
        if table[row] == "501" and not any(status == 501 for _, _, status, _ in wire.seen):
            wrong.append(f"{name}: {wire.seen[:2]}")

    for name, call in calls(wire.client, "client"):
        judge(name, call)
    names = [name for name, _ in calls(wire.client.sandboxes.create(name=f"t{uuid.uuid4().hex[:8]}"), "sandbox")]
    for name in names:
        # Some of them end it, so each has one of its own.
        sandbox = wire.client.sandboxes.create(name=f"t{uuid.uuid4().hex[:8]}")
        judge(name, dict(calls(sandbox, "sandbox"))[name])
        wire.client.sandboxes.delete(sandbox.id)
    assert not wrong, "\n".join(wrong)
    assert len(names) > 80
    assert len(silent) < 60, f"these send nothing: {silent}"
    # Made by hand, as the SDK's own functions for them need an event loop.
    assert set(table) - used == {"client.ws.*"} - used


def test_an_absent_call_says_what_to_do_instead(client):
    with pytest.raises(MiosaError) as refused:
        client.databases.list()
    assert (refused.value.status_code, refused.value.code) == (501, "NOT_SUPPORTED")
    assert "Use your own database" in str(refused.value)


def test_arguments_that_have_no_effect_are_named(portico, client):
    created = client.sandboxes.create(
        name=f"t{uuid.uuid4().hex[:8]}", services=[{"name": "web"}], database="postgres", github_repo_url="https://git.example/a.git")
    warned = created.data["warnings"]
    for name in ("services", "database", "github_repo_url"):
        assert any(text.startswith(f"`{name}`") for text in warned), warned
    plain = client.sandboxes.create(name=f"t{uuid.uuid4().hex[:8]}", size="small", tags=["a"], metadata={"services": 1})
    assert not [text for text in plain.data.get("warnings", []) if "template_id" in text or "metadata" in text]
    # A program that would rather fail asks for it, and nothing is made.
    before = len(client.sandboxes.list())
    key = {"Authorization": f"Bearer {portico.api_key}"}
    refused = httpx.post(f"{portico.api_url}/api/v1/sandboxes?strict=1", headers=key, json={"name": "x", "slugg": "y"})
    assert refused.status_code == 422
    assert refused.json()["error"]["details"] == {"slugg": ["is not a field of this call; did you mean `slug`?"]}
    assert len(client.sandboxes.list()) == before
    assert httpx.get(f"{portico.api_url}/api/v1/sandboxes/{NOBODY}", headers=key).status_code == 404
