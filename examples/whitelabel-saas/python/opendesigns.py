"""What OpenDesigns asks of Portico: every call it makes, one function a step, in the order in which a customer meets them.

Nothing here knows of the web; app.py does. The API key stays in this process.
"""

import os
import re
import uuid

from miosa import Miosa, verify_webhook_signature
from miosa.errors import MiosaError, NotFoundError

client = Miosa(api_key=os.environ["PORTICO_API_KEY"], base_url=os.environ["PORTICO_API_URL"])

# One person may have so many projects.
MAX_PROJECTS = 2

BRANDING = {
    "product_name": "OpenDesigns Workspaces",
    "support_email": "help@opendesigns.example",
    "support_url": "https://opendesigns.example/help",
    "primary_color": "#7c3aed",
    "background_color": "#faf7ff",
}


# -- Once, and again at every start: each step looks first and does only what is missing ------------------------------------------


def set_up(domain: str, hook_url: str, secrets: dict) -> list[str]:
    """Branding, preview domain, webhook. Tells what it did. `secrets` keeps the webhook's secret, which is shown only once."""
    done = []
    branding = client.tenant.branding
    if branding.get() is None:
        branding.set(BRANDING)
        done.append("branding set")

    preview_domain = client.tenant.preview_domain
    if preview_domain.get()["domain"] != domain:
        preview_domain.set(domain)
        done.append(f"{domain} registered")
    if not preview_domain.get()["verified_at"]:
        response = preview_domain.verify()
        if response["verified"]:
            done.append(f"{domain} verified")
        else:
            # Until it is, links are made in the platform's own zone.
            missing = [record["name"] for record in response["records"] if record["status"] != "verified"]
            done.append(f"{domain} is not verified yet; missing: {', '.join(missing)}")

    known = [hook for hook in client.webhooks.list() if hook["url"] == hook_url]
    if not known or "webhook" not in secrets:
        for hook in known:
            client.webhooks.delete(hook["id"])
        hook = client.webhooks.create(url=hook_url, events=["sandbox.*", "quota.exceeded"])
        secrets["webhook"] = hook["secret"]
        done.append("webhook registered")
    return done


# -- A customer signs up ----------------------------------------------------------------------------------------------------------


def sign_up(user_id: str) -> None:
    """What this person may use."""
    client.quotas.set(user_id, max_sandboxes=MAX_PROJECTS)


def slug_of(name: str) -> str:
    """`Brand refresh 2026` becomes `brand-refresh-2026`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "project"


def provision(user_id: str, name: str):
    """A sandbox of their own. The ids come back in lists, webhooks and usage."""
    project_id = f"project-{uuid.uuid4().hex[:8]}"
    wanted = slug_of(name)
    for slug in (wanted, f"{wanted}-{project_id[-4:]}"):
        try:
            return client.sandboxes.create(
                name=name,
                slug=slug,
                external_user_id=user_id,
                external_project_id=project_id,
                metadata={"plan": "free", "template": "brand"},
                wait=20,
            )
        except MiosaError as error:
            # Somebody else's project has this address already: take the next.
            if error.code != "SLUG_TAKEN":
                raise
    raise RuntimeError("no free address was found")


def projects(user_id: str):
    """All of a person's projects."""
    return client.sandboxes.list(external_user_id=user_id)


def project_of(user_id: str, project_id: str):
    """A project, if it is this person's. Whose it is, the back end decides: the browser only says which."""
    sandbox = client.sandboxes.get(project_id)
    if sandbox.external_user_id != user_id or sandbox.state == "destroyed":
        raise NotFoundError("There is no such project.", status_code=404)
    return sandbox


# -- They work --------------------------------------------------------------------------------------------------------------------


def link(sandbox) -> dict:
    """A link for the iframe that lives as long as one look at it; the page asks for the next in time."""
    return sandbox.preview_token(expires_in=900, scope="interact")


def rename(sandbox, slug: str):
    """Another address, at once, for the same machine. 409 `SLUG_TAKEN` when somebody has it."""
    return sandbox.update(slug=slug, tags=["renamed"], metadata={"renamed": True})


def share(sandbox, expires_in: int | None) -> dict:
    """A link that opens the project for whoever has it, until it expires or is revoked."""
    return sandbox.share.create(expires_in=expires_in)


def receive(body: bytes, headers, secrets: dict) -> bool:
    """Whether a webhook really comes from Portico, and is not older than five minutes."""
    try:
        return verify_webhook_signature(body, headers.get("Miosa-Signature", ""), secrets["webhook"])
    except ValueError:
        return False


# -- Money, and the end -----------------------------------------------------------------------------------------------------------


def usage(user_id: str) -> dict:
    """What this person used this month, and what they may."""
    month = client.usage.get(external_user_id=user_id, group_by="external_user_id", period="month-to-date")
    rows = month["results"]
    return {"from": month["period_start"], "used": rows[0] if rows else {}, "quota": client.quotas.get(user_id)}


def cancel(user_id: str) -> int:
    """Everything of theirs goes; their links and addresses with it."""
    mine = projects(user_id)
    for sandbox in mine:
        sandbox.destroy()
    client.quotas.delete(user_id)
    return len(mine)
