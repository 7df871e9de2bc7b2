"""Workspaces, delegation tokens, bound keys and the audit log, by the official SDK as it is."""

import uuid

import httpx
import pytest
from miosa import Miosa
from miosa.errors import AuthenticationError, MiosaError, NotFoundError, PermissionError, ValidationError
from miosa.errors import WorkspaceNameExistsError


def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def test_a_workspace_is_provided_and_found_again(client):
    called, external = name(), name()
    made = client.workspaces.create(called, description="d", metadata={"plan": "pro"}, external_workspace_id=external)
    assert made.name == called and made.metadata == {"plan": "pro"} and not made.reused
    again = client.workspaces.create(name(), external_workspace_id=external)
    assert again.id == made.id and again.reused
    with pytest.raises(WorkspaceNameExistsError) as taken:
        client.workspaces.create(called)
    assert taken.value.status_code == 409 and taken.value.code == "WORKSPACE_NAME_EXISTS"
    assert taken.value.details["existing"]["id"] == made.id
    assert client.workspaces.create(called, allow_duplicate_name=True).id != made.id
    assert client.workspaces.get(made.id).name == called
    assert made.id in [workspace.id for workspace in client.workspaces.list()]
    assert client.workspaces.update(made.id, description="e").description == "e"
    sandbox = client.sandboxes.create(name=name(), workspace_id=made.id)
    assert sandbox.data["workspace_name"] == called
    client.workspaces.delete(made.id)
    with pytest.raises(NotFoundError):
        client.workspaces.get(made.id)


def test_a_scoped_token_is_the_users_own(portico, client):
    user, other = name(), name()
    workspace = client.workspaces.create(name())
    own = client.sandboxes.create(name=name(), external_user_id=user, workspace_id=workspace.id)
    foreign = client.sandboxes.create(name=name(), external_user_id=other)
    minted = client.tokens.create_scoped(
        user_id=user, workspace_id=workspace.id, expires_in_seconds=600, scopes=["sandboxes:read", "sandboxes:create"],
    )
    assert minted["token"].count(".") == 2 and minted["scopes"] == ["sandboxes:read", "sandboxes:create"]
    browser = Miosa(api_key=minted["token"], base_url=portico.api_url)
    assert [sandbox.id for sandbox in browser.sandboxes.list()] == [own.id]
    assert browser.sandboxes.get(own.id).id == own.id
    with pytest.raises(NotFoundError):
        browser.sandboxes.get(foreign.id)
    assert browser.sandboxes.create(name=name(), external_user_id=other).external_user_id == user
    for call in (
        lambda: browser.tenant.branding.get(),
        lambda: browser.tokens.create_scoped(user_id=user, workspace_id=workspace.id),
        lambda: browser.sandboxes.get(own.id).destroy(),
        lambda: browser.workspaces.list(),
        lambda: browser.audit_log.list(),
    ):
        with pytest.raises(PermissionError) as refused:
            call()
        assert refused.value.code == "insufficient_scope"
    listed = client.tokens.list_scoped()
    assert minted["id"] in [token["id"] for token in listed]
    client.tokens.delete_scoped(minted["id"])
    with pytest.raises(AuthenticationError):
        browser.sandboxes.list()
    with pytest.raises(ValidationError):
        client.tokens.create_scoped(user_id=user, workspace_id=workspace.id, expires_in_seconds=86401)


def test_nobody_mints_more_than_it_has(portico, client):
    limited = client.api_keys.create(name="limited", scopes=["sandboxes:read"])
    limited = Miosa(api_key=limited["token"], base_url=portico.api_url)
    with pytest.raises(PermissionError) as refused:
        limited.tokens.create_scoped(user_id="u", workspace_id="w", scopes=["sandboxes:read", "sandboxes:write"])
    assert refused.value.code == "insufficient_scope"
    assert refused.value.details["invalid_scopes"] == ["sandboxes:write"]


def test_a_bound_key_lives_until_it_is_revoked(portico, client):
    user = name()
    own = client.sandboxes.create(name=name(), external_user_id=user)
    made = client.api_keys.create_scoped(external_user_id=user, scopes=["sandboxes:read"])
    bound = Miosa(api_key=made["token"], base_url=portico.api_url)
    assert [sandbox.id for sandbox in bound.sandboxes.list()] == [own.id]
    assert made["id"] in [key["id"] for key in client.api_keys.list()]
    client.api_keys.delete(made["id"])
    with pytest.raises(AuthenticationError):
        bound.sandboxes.list()


def test_the_audit_log_and_the_tenants_own_facts(client):
    sandbox = client.sandboxes.create(name=name())
    rows = client.audit_log.list(resource_type="sandbox", resource_id=sandbox.id)
    assert [row["action"] for row in rows] == ["sandbox.create"]
    assert rows[0]["actor"]["type"] == "api_key" and rows[0]["ip"] == "127.0.0.1"
    assert rows[0]["user_agent"].startswith("miosa-python/")
    plan = client.tenant.current()
    assert plan["name"] == "dev" and plan["usage"]["running_sandboxes"] >= 1


def test_a_ticket_opens_a_stream_once(portico, client):
    sandbox = client.sandboxes.create(name=name())
    key = {"Authorization": f"Bearer {portico.api_key}"}
    ticket = httpx.post(f"{portico.api_url}/api/v1/auth/sse-ticket", headers=key).json()["ticket"]
    stream = f"{portico.api_url}/api/v1/sandboxes/{sandbox.id}/readiness/stream?ticket={ticket}"
    assert "event: ready" in httpx.get(stream, headers={"Accept": "text/event-stream"}).text
    assert httpx.get(stream, headers={"Accept": "text/event-stream"}).status_code == 401


def test_an_error_without_a_class_of_its_own_says_what_it_is(client):
    with pytest.raises(MiosaError) as taken:
        client.workspaces.create("x", external_workspace_id="y" * 300)
    assert taken.value.status_code == 422
