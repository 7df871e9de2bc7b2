"""Share links, made and revoked by the official SDK as it is, and opened by somebody who has nothing else."""

import json
import time
import uuid

import httpx
import pytest
from miosa.errors import NotFoundError, ValidationError

NAVIGATION = {"Accept": "text/html", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.fixture
def sandbox(portico, client, app):
    created = client.sandboxes.create(name=f"t{uuid.uuid4().hex[:10]}")
    headers = {"Authorization": f"Bearer {portico.api_key}"}
    # The SDK has no word for the port of a link: it is the sandbox's own.
    changed = httpx.patch(f"{portico.api_url}/api/v1/sandboxes/{created.id}", headers=headers, json={"default_port": app})
    assert changed.status_code == 200
    yield created
    created.destroy()


def code(response) -> str:
    return response.headers.get("x-preview-error", "")


def test_a_link_opens_without_any_other_credential(portico, sandbox):
    made = sandbox.share.create(scope="read")
    assert made["expires_at"] is None and made["scope"] == "read" and made["share_id"]
    opened = portico.visit(made["share_url"], **NAVIGATION)
    assert opened.status == 303 and opened.headers["location"] == "/"
    cookie = opened.headers["set-cookie"].split(";")[0]
    page = portico.visit(made["share_url"].split("?")[0], Cookie=f"theme=dark; {cookie}")
    assert page.status == 200
    seen = json.loads(page.body)
    assert seen["headers"]["cookie"] == "theme=dark"
    assert made["share_url"].split("ms_")[1] not in page.body
    assert portico.visit(made["share_url"], method="POST").status == 403, "it is for looking"


def test_links_are_listed_with_their_use_until_they_are_withdrawn(portico, sandbox):
    made = [sandbox.share.create(), sandbox.share.create(expires_in=600)]
    listed = {share["share_id"]: share for share in sandbox.share.list()}
    assert set(listed) == {share["share_id"] for share in made}
    for share in made:
        assert listed[share["share_id"]]["share_url"] == share["share_url"] == share["url"]
        assert listed[share["share_id"]]["expires_at"] == share["expires_at"]
    assert portico.visit(made[0]["share_url"], **NAVIGATION).status == 303
    deadline = time.monotonic() + 20
    while {share["share_id"]: share["visits"] for share in sandbox.share.list()}[made[0]["share_id"]] != 1:
        assert time.monotonic() < deadline, "the visit was never counted"
        time.sleep(0.2)
    for _ in range(2):
        sandbox.share.revoke(made[0]["share_id"])
    assert [share["share_id"] for share in sandbox.share.list()] == [made[1]["share_id"]]
    response = portico.visit(made[0]["share_url"], **NAVIGATION)
    assert (response.status, code(response)) == (403, "share_revoked")
    assert portico.visit(made[1]["share_url"], **NAVIGATION).status == 303
    with pytest.raises(NotFoundError):
        sandbox.share.revoke(str(uuid.uuid4()))


def test_a_link_expires(portico, sandbox):
    made = sandbox.share.create(expires_in=1)
    assert portico.visit(made["share_url"], **NAVIGATION).status == 303
    time.sleep(1.1)
    response = portico.visit(made["share_url"], **NAVIGATION)
    assert (response.status, code(response)) == (410, "share_expired")
    assert "This link has expired" in response.body
    assert sandbox.share.list() == []


def test_what_cannot_be_shared_is_refused(sandbox):
    for order in ({"scope": "interact"}, {"expires_in": 0}):
        with pytest.raises(ValidationError):
            sandbox.share.create(**order)


def test_a_preview_is_shared_by_itself(portico, sandbox, app):
    preview = sandbox.preview.create(port=app, visibility="private")
    assert preview["share_token_prefix"] is None
    shared = sandbox.preview.share(preview["id"], ttl_seconds=600)
    assert shared["data"]["id"] == preview["id"]
    assert shared["preview_token"].startswith("miosa_pv_") and shared["url"] == shared["share_url"]
    shown = sandbox.preview.get(preview["id"])
    assert shared["preview_token"].startswith(shown["share_token_prefix"])
    assert shown["share_token_expires_at"] == shared["data"]["share_token_expires_at"]
    assert portico.visit(shared["url"], **NAVIGATION).status == 303
    sandbox.preview.revoke_share(preview["id"])
    response = portico.visit(shared["url"], **NAVIGATION)
    assert (response.status, code(response)) == (403, "share_revoked")
    assert sandbox.preview.get(preview["id"])["share_token_prefix"] is None


def test_destroying_a_sandbox_takes_its_links_with_it(portico, client, sandbox):
    made = sandbox.share.create()
    client.sandboxes.get(sandbox.id).destroy()
    assert portico.visit(made["share_url"], **NAVIGATION).status == 404
    assert sandbox.share.list() == []
    with pytest.raises(NotFoundError):
        sandbox.share.create()
