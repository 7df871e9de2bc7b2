"""The control API, driven by the official SDK as it is."""

import time
import uuid

import httpx
import pytest
from miosa import Miosa
from miosa.errors import AuthenticationError, MiosaError, NotFoundError, PermissionError, ValidationError


def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def test_who_am_i_and_what_a_wrong_key_gets(portico, client):
    key = {"Authorization": f"Bearer {portico.api_key}"}
    me = httpx.get(f"{portico.api_url}/api/v1/whoami", headers=key).json()
    assert me["tenant_name"] == "dev" and me["scopes"] == ["*"]
    with pytest.raises(AuthenticationError) as refused:
        Miosa(api_key="msk_u_wrong", base_url=portico.api_url).sandboxes.list()
    assert refused.value.status_code == 401 and refused.value.code == "invalid_token"
    assert refused.value.request_id.startswith("req_")


def test_an_unbranded_client_is_served(portico):
    assert Miosa(api_key=portico.api_key, base_url=portico.api_url, unbranded=True).sandboxes.list() is not None


def test_branding_can_be_set_again_and_again(portico, client, app):
    branding = client.tenant.branding
    branding.delete()
    assert branding.get() is None
    face = {"product_name": "OpenDesigns Workspaces", "logo_url": "https://opendesigns.example/logo.svg",
            "support_email": "help@opendesigns.example", "primary_color": "#ff5a1f"}
    for _ in range(2):
        branding.set(face)
        assert {key: branding.get()[key] for key in face} == face
    page = portico.visit(f"http://nothing-here.{portico.zone}/", Accept="text/html")
    assert page.status == 404 and "OpenDesigns" not in page.body, "nobody's host wears nobody's face"
    sandbox = client.sandboxes.create(name=name())
    page = portico.visit(sandbox.expose(1) + "/", Accept="text/html")
    assert page.status == 502 and "OpenDesigns Workspaces" in page.body
    page = portico.visit(sandbox.data["preview_url"] + "/", Accept="text/html")
    assert page.status == 401 and "OpenDesigns Workspaces" in page.body
    vendor = (page.body + str(page.headers)).lower()
    assert "miosa" not in vendor and "portico" not in vendor
    with pytest.raises(ValidationError) as refused:
        branding.set({"logo_url": "javascript:alert(1)"})
    assert "logo_url" in refused.value.details
    branding.delete()


def test_provisioning_gives_back_what_was_said(client):
    user, called = name(), name()
    created = client.sandboxes.create(
        name=called, size="small", metadata={"plan": "pro"}, tags=["a", "b"],
        external_user_id=user, external_project_id="p-1", external_workspace_id="w-1", timeout_sec=3600,
    )
    assert created.state == "running" and created.ready
    fresh = client.sandboxes.get(created.id)
    for sandbox in (created, fresh):
        assert sandbox.name == called and sandbox.metadata == {"plan": "pro"}
        assert (sandbox.external_user_id, sandbox.external_project_id, sandbox.external_workspace_id) == (user, "p-1", "w-1")
        assert (sandbox.cpu_count, sandbox.memory_mb, sandbox.disk_size_mb) == (2, 4096, 10240)
        assert sandbox.data["tags"] == ["a", "b"]
        assert sandbox.slug == created.id.replace("-", "")[:8]
    assert fresh.created_at == created.created_at
    assert [s.id for s in client.sandboxes.list(external_user_id=user)] == [created.id]
    assert client.sandboxes.get_by_name(called).id == created.id
    assert client.sandboxes.get_or_create(called).id == created.id
    created.wait_until_ready(timeout=10)
    assert created.readiness()["ready"] is True


def test_lists_are_whole_and_filtered(client):
    user = name()
    ids = {client.sandboxes.create(name=name(), external_user_id=user, tags=["bulk"]).id for _ in range(105)}
    assert {s.id for s in client.sandboxes.list(external_user_id=user)} == ids
    assert {s.id for s in client.sandboxes.list(tags=["bulk"], external_user_id=user)} == ids
    assert client.sandboxes.list(external_user_id=name()) == []
    gone = ids.pop()
    client.sandboxes.delete(gone)
    assert {s.id for s in client.sandboxes.list(external_user_id=user)} == ids
    assert gone in {s.id for s in client.sandboxes.list(state="destroyed", external_user_id=user)}


def test_updates_merge_metadata_and_replace_tags(client):
    sandbox = client.sandboxes.create(name=name(), metadata={"keep": 1, "drop": 2}, tags=["old"])
    sandbox.update(name="renamed", metadata={"drop": None, "new": 3}, tags=["new"], idle_timeout_sec=60)
    assert sandbox.name == "renamed" and sandbox.metadata == {"keep": 1, "new": 3}
    assert sandbox.data["tags"] == ["new"] and sandbox.idle_timeout_sec == 60
    sandbox.update(persistent=True)
    assert client.sandboxes.get(sandbox.id).metadata["keep"] == 1


def test_a_new_slug_moves_the_preview_at_once(portico, client, app):
    first, second = client.sandboxes.create(name=name()), client.sandboxes.create(name=name(), slug=name())
    url, slug = first.expose(app), name()
    assert portico.visit(url + "/").status == 200
    with pytest.raises(MiosaError) as taken:
        first.update(slug=second.slug)
    assert taken.value.status_code == 409 and taken.value.code == "SLUG_TAKEN"
    assert portico.visit(url + "/").status == 200, "the loser keeps its host"
    first.update(slug=slug)
    assert slug in first.data["preview_url"]
    assert portico.visit(url + "/").status == 404
    assert portico.visit(first.expose(app) + "/").status == 200
    for bad in ("3000-foo", "www", "UPPER", "-x", "x" * 58):
        with pytest.raises(ValidationError) as refused:
            first.update(slug=bad)
        assert "slug" in refused.value.details


def test_a_preview_token_opens_its_sandbox_and_no_other(portico, client, app):
    mine, other = client.sandboxes.create(name=name()), client.sandboxes.create(name=name())
    minted = mine.preview_token(expires_in=600, scope="read")
    assert minted["token"].startswith("mp_") and minted["scope"] == "read"
    assert "?mt=mp_" in minted["url"]
    host = f"http://{app}-{mine.slug}.{portico.zone}:{portico.preview_port}"
    opened = portico.visit(f"{host}/p?token={minted['token']}&a=1", Accept="text/html")
    assert opened.status == 303 and opened.headers["location"] == "/p?a=1"
    session = opened.headers["set-cookie"].split(";")[0]
    seen = portico.visit(f"{host}/p?a=1", Cookie=f"theirs=1; {session}")
    assert seen.status == 200 and "mp_" not in seen.body and '"theirs=1"' in seen.body
    foreign = host.replace(mine.slug, other.slug)
    assert portico.visit(foreign + "/", Cookie=session).status == 403
    short = mine.preview_token(expires_in=1)
    time.sleep(1.2)
    expired = portico.visit(host + "/", x_miosa_preview_token=short["token"])
    assert expired.status == 401 and expired.headers["x-preview-error"] == "token_expired"
    key = {"Authorization": f"Bearer {portico.api_key}"}
    tokens = f"{portico.api_url}/api/v1/sandboxes/{mine.id}/preview-tokens"
    assert {t["id"] for t in httpx.get(tokens, headers=key).json()["data"]} >= {minted["id"], short["id"]}
    assert httpx.delete(f"{tokens}/{minted['id']}", headers=key).status_code == 204
    assert portico.visit(f"{host}/p", Cookie=session).status == 401
    again = mine.preview_token()
    assert httpx.delete(tokens, headers=key).status_code == 204
    assert portico.visit(host + "/", x_miosa_preview_token=again["token"]).status == 401
    with pytest.raises(ValidationError) as refused:
        mine.preview_token(scope="admin")
    assert refused.value.code == "invalid_scope"
    for seconds in (0, 86401):
        with pytest.raises(ValidationError):
            mine.preview_token(expires_in=seconds)


def test_previews_are_published_and_taken_back(portico, client, app):
    sandbox = client.sandboxes.create(name=name())
    url = f"http://{app}-{sandbox.slug}.{portico.zone}:{portico.preview_port}/"
    assert portico.visit(url).status == 401
    preview = sandbox.previews.create(port=app, label="web", visibility="public")
    assert preview["url"] + "/" == url and preview["state"] == "active"
    assert portico.visit(url).status == 200
    assert [p["id"] for p in sandbox.previews.list()] == [preview["id"]]
    sandbox.previews.delete(preview["id"])
    assert portico.visit(url).status == 401
    private = sandbox.previews.create(port=app, visibility="private")
    assert portico.visit(url).status == 401
    info = sandbox.expose_info(app)
    assert info.url + "/" == url and portico.visit(url).status == 401, "exposing does not publish what is private"
    assert sandbox.get_host(app) == url.split("/")[2]
    assert sandbox.get_url(app, "/x").endswith("/x")
    sandbox.previews.delete(private["id"])
    sandbox.expose(app)
    assert portico.visit(url).status == 200


def test_destroying_ends_everything(portico, client, app):
    sandbox = client.sandboxes.create(name=name())
    url = sandbox.expose(app) + "/"
    token = sandbox.preview_token()["token"]
    assert portico.visit(url).status == 200
    sandbox.destroy()
    assert portico.visit(url, x_miosa_preview_token=token).status == 404
    assert client.sandboxes.get(sandbox.id).state == "destroyed"
    with pytest.raises(NotFoundError):
        sandbox.update(name="late")


def test_a_repeated_create_gives_the_same_sandbox(portico):
    call = {"headers": {"Authorization": f"Bearer {portico.api_key}", "Idempotency-Key": name()}}
    url, body = f"{portico.api_url}/api/v1/sandboxes", {"name": name()}
    first, second = (httpx.post(url, json=body, **call) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json()["data"]["id"] == second.json()["data"]["id"]
    other = httpx.post(url, json={"name": "other"}, **call)
    assert other.status_code == 409 and other.json()["error"]["code"] == "IDEMPOTENCY_PAYLOAD_MISMATCH"


def test_keys_do_what_their_scopes_say(portico):
    key = {"Authorization": f"Bearer {portico.api_key}"}
    made = httpx.post(f"{portico.api_url}/api/v1/api-keys", json={"label": "reader", "scopes": ["sandboxes:read"]}, headers=key)
    assert made.status_code == 201
    reader = Miosa(api_key=made.json()["token"], base_url=portico.api_url)
    assert reader.sandboxes.list() is not None
    with pytest.raises(PermissionError) as refused:
        reader.sandboxes.create(name=name())
    assert refused.value.code == "insufficient_scope"
    assert httpx.delete(f"{portico.api_url}/api/v1/api-keys/{made.json()['data']['id']}", headers=key).status_code == 204
    with pytest.raises(AuthenticationError):
        reader.sandboxes.list()


def test_errors_have_one_shape(portico):
    key = {"Authorization": f"Bearer {portico.api_key}"}
    api = f"{portico.api_url}/api/v1"
    for method, path, body, status, code in [
        ("GET", "/sandboxes/not-an-id", None, 404, "NOT_FOUND"),
        ("GET", f"/sandboxes/{uuid.uuid4()}", None, 404, "NOT_FOUND"),
        ("GET", "/nothing", None, 404, "NOT_FOUND"),
        ("DELETE", "/whoami", None, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/sandboxes", b"{", 400, "INVALID_JSON"),
        ("POST", "/sandboxes", b"[]", 422, "VALIDATION_ERROR"),
        ("POST", "/sandboxes", b'{"name": 7, "tags": "x", "size": "huge"}', 422, "VALIDATION_ERROR"),
        ("POST", "/sandboxes", b'{"name": "' + b"x" * (1 << 20) + b'"}', 413, "TOO_LARGE"),
    ]:
        response = httpx.request(method, api + path, content=body, headers=key)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (status, code), response.text
        assert response.json()["ok"] is False and response.json()["request_id"] == response.headers["x-request-id"]
        assert isinstance(error["retryable"], bool) and isinstance(error["details"], dict)
    three = httpx.post(f"{api}/sandboxes", content=b'{"name": 7, "tags": "x", "size": "huge"}', headers=key).json()
    assert set(three["error"]["details"]) == {"name", "tags", "size"}
