"""What was used, asked for by the official SDK as it is."""

import time
import uuid

import pytest
from miosa.errors import ValidationError

GROUPS = ("external_user_id", "external_project_id", "workspace_id")


def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def eventually(look, seconds=30):
    """The first response that is one, for a bounded time: counts are written every few seconds."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def test_a_bill_by_user(portico, client, app):
    user, project = name(), name()
    sandbox = client.sandboxes.create(name=name(), size="medium", external_user_id=user, external_project_id=project)
    url = sandbox.expose(app)
    bodies = [portico.visit(url + "/").body for _ in range(3)]

    def row():
        report = client.usage.get(external_user_id=user, period="7d")
        assert report["period_start"] < report["period_end"]
        [only] = report["results"]
        return only if only["requests"] == 3 else None

    bill = eventually(row)
    assert bill and bill["external_user_id"] == user
    assert bill["bytes_out"] == sum(len(body.encode()) for body in bodies)
    assert bill["responses"]["2xx"] == 3
    assert bill["computer_seconds"] == 0 and bill["credit_cents"] == 0
    time.sleep(1.1)
    sandbox.destroy()
    bill = client.usage.get(external_user_id=user)["results"][0]
    assert bill["wall_seconds"] >= 1 and bill["sandbox_seconds"] // 4 in (bill["wall_seconds"], bill["wall_seconds"] + 1)
    assert client.usage.get(external_user_id=user)["results"][0]["wall_seconds"] == bill["wall_seconds"], "it is gone"
    projects = client.usage.get(group_by="external_project_id", external_user_id=user)["results"]
    assert [row["external_project_id"] for row in projects] == [project]


def test_every_grouping_and_period(client):
    client.sandboxes.create(name=name(), external_user_id=name())
    for group in GROUPS:
        for row in client.usage.get(group_by=group, period="30d")["results"]:
            assert group in row
    mtd, month = (client.usage.get(period=word) for word in ("mtd", "month-to-date"))
    assert mtd["period_start"] == month["period_start"] and mtd["period_start"].endswith("-01T00:00:00Z")
    keys = [[row["external_user_id"] for row in report["results"]] for report in (mtd, month)]
    assert keys[0] == keys[1]
    past = client.usage.get(start="2026-01-01T00:00:00Z", end="2026-02-01T00:00:00Z")
    assert past["period_start"] == "2026-01-01T00:00:00Z" and past["results"] == []
    for wrong in ({"period": "fortnight"}, {"group_by": "color"}, {"start": "2026-02-01", "end": "2026-01-01"}):
        with pytest.raises(ValidationError) as refused:
            client.usage.get(**wrong)
        assert refused.value.status_code == 422


def test_summary_and_sessions(client):
    user = name()
    sandbox = client.sandboxes.create(name=name(), size="small", external_user_id=user)
    summary = client.usage.current()
    for field in ("compute_hours", "storage_gb", "bandwidth_gb", "ai_tokens", "total_credits"):
        assert isinstance(summary[field], (int, float)), field
    report = client.usage.report(period_start="2026-01-01T00:00:00Z", period_end="2026-01-02T00:00:00Z")
    assert report["compute_hours"] == 0
    [session] = client.usage.sessions(external_user_id=user)
    assert session["sandbox_id"] == sandbox.id and session["ended_at"] is None and session["cpu_count"] == 2
    sandbox.destroy()
    [session] = client.usage.sessions(external_user_id=user)
    assert session["ended_at"] is not None


def test_the_usage_of_one_sandbox(client):
    sandbox = client.sandboxes.create(name=name(), size="small", timeout_sec=600)
    used = sandbox.usage()
    used = used.get("data", used)
    assert used["sandbox_id"] == sandbox.id and used["state"] == "running"
    assert used["timeout_sec"] == 600 and 0 < used["timeout_remaining_ms"] <= 600_000
    assert used["creation_count"] == 1 and used["ports"] == []
