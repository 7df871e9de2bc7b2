"""Quotas of end users, by the official SDK as it is: set, told, held to, and never asked for twice."""

import http.client
import http.server
import threading
import uuid
from urllib.parse import urlsplit

import pytest
from miosa import Miosa
from miosa.errors import PermissionError, ValidationError

LIMITS = ("max_sandboxes", "max_concurrent", "max_storage_gb", "max_credit_cents")


def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def counted(portico):
    """A client whose every request passes through here, and the requests that did."""
    target = urlsplit(portico.api_url)
    seen = []

    class Pass(http.server.BaseHTTPRequestHandler):
        def pass_on(self):
            seen.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=10)
            upstream.request(self.command, self.path, body=body, headers=dict(self.headers))
            response = upstream.getresponse()
            content = response.read()
            upstream.close()
            self.send_response(response.status)
            for field, value in response.getheaders():
                if field.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(field, value)
            if response.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pass)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Miosa(api_key=portico.api_key, base_url=f"http://127.0.0.1:{server.server_address[1]}"), seen
    server.shutdown()
    server.server_close()


def test_one_more_than_allowed_is_refused_by_exactly_one_request(counted):
    client, seen = counted
    user = name()
    client.quotas.set(user, max_sandboxes=2)
    first = client.sandboxes.create(name=name(), external_user_id=user)
    client.sandboxes.create(name=name(), external_user_id=user)
    seen.clear()
    with pytest.raises(PermissionError) as refused:
        client.sandboxes.create(name=name(), external_user_id=user)
    assert [method for method, _ in seen] == ["POST"], seen
    assert refused.value.status_code == 403 and refused.value.code == "QUOTA_EXCEEDED"
    assert refused.value.details == {"quota": "max_sandboxes", "limit": 2, "used": 2, "external_user_id": user}
    client.sandboxes.create(name=name())
    first.destroy()
    client.sandboxes.create(name=name(), external_user_id=user)


def test_running_too_many_at_once_is_refused_on_create_and_on_resume(counted):
    client, seen = counted
    user = name()
    client.quotas.set(user, max_concurrent=1)
    first = client.sandboxes.create(name=name(), external_user_id=user)
    first.pause()
    second = client.sandboxes.create(name=name(), external_user_id=user)
    seen.clear()
    with pytest.raises(PermissionError) as refused:
        first.resume()
    assert len(seen) == 1 and refused.value.details["quota"] == "max_concurrent"
    second.destroy()
    first.resume()


def test_quotas_are_set_told_and_taken_away(client):
    # Ids of end users go into the path as they are, and may hold anything.
    user = f"a b/{name()}"
    nothing = dict.fromkeys(LIMITS)
    assert client.quotas.get(user)["limits"] == nothing
    told = client.quotas.set(user, max_sandboxes=5, max_concurrent=2, max_storage_gb=100, max_credit_cents=1000)
    wanted = {"max_sandboxes": 5, "max_concurrent": 2, "max_storage_gb": 100, "max_credit_cents": 1000}
    assert told["external_user_id"] == user and told["limits"] == wanted
    assert {key: told[key] for key in LIMITS} == wanted, "the older, flat form as well"
    client.sandboxes.create(name=name(), external_user_id=user, size="small")
    usage = client.quotas.get(user)["usage"]
    assert (usage["total_sandboxes"], usage["sandboxes"], usage["concurrent"], usage["storage_gb"]) == (1, 1, 1, 10)
    assert client.quotas.set(user, max_concurrent=3)["limits"] == {**nothing, "max_concurrent": 3}
    with pytest.raises(ValidationError) as refused:
        client.quotas.set(user, max_sandboxes=-1)
    assert "max_sandboxes" in refused.value.details
    client.quotas.delete(user)
    assert client.quotas.get(user)["limits"] == nothing


def test_a_tenants_default_holds_until_a_user_has_quotas_of_its_own(client):
    user = name()
    try:
        assert client.tenant.policy.set({"quotas": {"max_sandboxes": 1}})["quotas"]["max_sandboxes"] == 1
        client.sandboxes.create(name=name(), external_user_id=user)
        with pytest.raises(PermissionError):
            client.sandboxes.create(name=name(), external_user_id=user)
        cap = client.external_users(user).policy.effective().quotas.max_sandboxes
        assert (cap.value, cap.source) == (1, "tenant")
        client.external_users(user).policy.set({"quotas": {"max_sandboxes": 2}})
        cap = client.external_users(user).policy.effective().quotas.max_sandboxes
        assert (cap.value, cap.source) == (2, "user")
        client.sandboxes.create(name=name(), external_user_id=user)
        client.external_users(user).policy.delete()
        with pytest.raises(PermissionError):
            client.sandboxes.create(name=name(), external_user_id=user)
    finally:
        client.tenant.policy.delete()
    client.sandboxes.create(name=name(), external_user_id=user)
    assert client.tenant.policy.get() == {}
