"""Webhooks and streams of events, with the official SDK as it is on both ends."""

import http.server
import json
import threading
import time
import uuid

import pytest
from miosa import verify_webhook_signature
from miosa.errors import MiosaError, NotFoundError, ValidationError


class Hooks(http.server.BaseHTTPRequestHandler):
    """Keeps what it was told; fails as often as it was told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((dict(self.headers), body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    server.told, server.statuses = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def name() -> str:
    return f"w{uuid.uuid4().hex[:10]}"


def eventually(holds, patience=30.0):
    until = time.monotonic() + patience
    while not (found := holds()):
        assert time.monotonic() < until, "never came true"
        time.sleep(0.05)
    return found


def test_a_delivery_is_verified_by_the_sdk(client, receiver):
    hook = client.webhooks.create(url=receiver.url, events=["sandbox.running"], name="mine", metadata={"a": 1})
    secret = hook["secret"]
    assert secret.startswith("whsec_") and hook["state"] == "active" and hook["metadata"] == {"a": 1}
    sandbox = client.sandboxes.create(name=name(), external_user_id="user-17", metadata={"plan": "pro"})
    headers, body = eventually(lambda: receiver.told)[0]
    for header in (headers["X-Miosa-Signature"], headers["Miosa-Signature"]):
        assert verify_webhook_signature(body, header, secret)
        assert not verify_webhook_signature(body, header, "whsec_wrong")
        assert not verify_webhook_signature(body + b" ", header, secret)
    event = json.loads(body)
    assert event["type"] == "sandbox.running" and event["data"]["id"] == sandbox.id
    assert event["data"]["preview_url"] == sandbox.data["preview_url"]
    assert event["data"]["external_user_id"] == "user-17" and event["data"]["metadata"] == {"plan": "pro"}
    seconds = headers["Miosa-Signature"].split(",")[0]
    old = f"t={int(seconds[2:]) - 301}," + headers["Miosa-Signature"].split(",")[1]
    with pytest.raises(ValueError):
        verify_webhook_signature(body, old, secret)
    delivered = eventually(lambda: [d for d in client.webhooks.deliveries(hook["id"]) if d["state"] == "delivered"])
    assert [d["event_type"] for d in delivered] == ["sandbox.running"]
    client.webhooks.delete(hook["id"])


def test_a_webhook_is_changed_tried_out_and_removed(client, receiver):
    hook = client.webhooks.create(url=receiver.url, events=[])
    path = hook["id"]
    assert path in [known["id"] for known in client.webhooks.list()]
    assert "secret" not in client.webhooks.get(path)
    tested = client.webhooks.test(path)
    assert tested["delivered"] is True and tested["state"] == "delivered"
    receiver.statuses = [500]
    failed = client.webhooks.test(path)
    assert failed["delivered"] is False and failed["response_status"] == 500
    assert json.loads(receiver.told[0][1])["type"] == "webhook.test"
    changed = client.webhooks.update(path, retry_count=0, name="other", events=["quota.exceeded"])
    assert (changed["retry_count"], changed["name"], changed["events"]) == (0, "other", ["quota.exceeded"])
    rotated = client.webhooks.update(path, rotate_secret=True)
    assert rotated["secret"] != hook["secret"]
    client.webhooks.test(path)
    headers, body = receiver.told[-1]
    assert verify_webhook_signature(body, headers["X-Miosa-Signature"], rotated["secret"])
    assert verify_webhook_signature(body, headers["Miosa-Signature"], rotated["secret"])
    assert verify_webhook_signature(body, headers["X-Miosa-Signature-Previous"], hook["secret"])
    with pytest.raises(ValidationError) as refused:
        client.webhooks.create(url=receiver.url, events=["sandbox.exploded"])
    assert refused.value.code == "UNKNOWN_EVENT_TYPE"
    client.webhooks.delete(path)
    with pytest.raises(NotFoundError):
        client.webhooks.get(path)


def test_a_delivery_is_replayed_once_an_id(client, receiver):
    hook = client.webhooks.create(url=receiver.url, events=["sandbox.created"])
    client.sandboxes.create(name=name())
    first = eventually(lambda: [d for d in client.webhooks.deliveries(hook["id"]) if d["success"]])[0]
    replay = client.event_subscriptions.replay_delivery
    made = replay(hook["id"], first["id"], replay_id="once")
    made = made.get("data", made)
    assert made["replay_of"] == first["id"] and made["state"] == "pending"
    told = eventually(lambda: len(receiver.told) > 1 and receiver.told)
    assert json.loads(told[0][1])["id"] == json.loads(told[1][1])["id"]
    with pytest.raises(MiosaError) as again:
        replay(hook["id"], first["id"], replay_id="once")
    assert again.value.status_code == 409
    client.webhooks.update(hook["id"], active=False)
    with pytest.raises(MiosaError) as resting:
        replay(hook["id"], first["id"])
    assert resting.value.status_code == 409
    client.webhooks.delete(hook["id"])


def test_events_are_streamed(client):
    heard = []
    user = name()

    def listen():
        for event in client.events.stream(types=["sandbox.*"]):
            if (event.get("data") or {}).get("external_user_id") == user:
                heard.append(event)
            if event["type"] == "sandbox.destroyed" and event["data"]["external_user_id"] == user:
                return

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    time.sleep(1)
    sandbox = client.sandboxes.create(name=name(), external_user_id=user)
    sandbox.destroy()
    listening.join(timeout=20)
    assert not listening.is_alive()
    kinds = [event["type"] for event in heard]
    assert kinds == ["sandbox.created", "sandbox.running", "sandbox.ready", "sandbox.destroyed"]
    assert heard[0]["data"]["id"] == sandbox.id and heard[0]["id"].startswith("evt_")
