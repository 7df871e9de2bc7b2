"""OpenDesigns, the web application: sessions, pages and a small JSON API for them. What it asks of Portico is in opendesigns.py."""

import json
import os
import pathlib
import secrets as random
import threading

import opendesigns
from flask import Flask, jsonify, request, send_from_directory, session
from miosa.errors import MiosaError

HERE = pathlib.Path(__file__).resolve().parent
WEB = HERE.parent / "web"
PORT = int(os.environ.get("PORT", "8090"))
DOMAIN = os.environ.get("OPENDESIGNS_DOMAIN", "opendesigns.localhost")
# Where the secret of the webhook is kept; a real product has a vault.
KEPT = pathlib.Path(os.environ.get("OPENDESIGNS_DATA", HERE / ".data"))

app = Flask(__name__)
app.secret_key = random.token_bytes(32)
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
kept: dict = {}
# What the webhook told, the newest last, by the event's id: a delivery that comes twice counts once.
events: dict[str, dict] = {}
lock = threading.Lock()


def user() -> str:
    if "user" not in session:
        raise MiosaError("Sign in first.", status_code=401)
    return session["user"]


def shown(sandbox) -> dict:
    return {"id": sandbox.id, "name": sandbox.name, "slug": sandbox.slug, "state": sandbox.state, "url": sandbox.preview_url}


@app.errorhandler(MiosaError)
def refused(error: MiosaError):
    """Portico's word is good enough for the page: a code, and a sentence."""
    return jsonify(code=error.code, message=error.message), error.status_code or 502


@app.get("/")
def page():
    return send_from_directory(WEB, "index.html")


@app.get("/<name>")
def asset(name: str):
    return send_from_directory(WEB, name)


@app.get("/api/state")
def state():
    me = session.get("user")
    mine = [shown(sandbox) for sandbox in opendesigns.projects(me)] if me else []
    return jsonify(user=me, projects=mine, embed=os.environ["PORTICO_API_URL"] + "/embed/v1/portico-embed.js")


@app.post("/api/sign-up")
def sign_up():
    asked = request.get_json()
    me = f"user-{opendesigns.slug_of(asked['name'])}"
    opendesigns.sign_up(me)
    session["user"] = me
    return jsonify(shown(opendesigns.provision(me, asked["project"]))), 201


@app.post("/api/projects")
def create():
    return jsonify(shown(opendesigns.provision(user(), request.get_json()["name"]))), 201


@app.patch("/api/projects/<id>")
def rename(id: str):
    return jsonify(shown(opendesigns.rename(opendesigns.project_of(user(), id), request.get_json()["slug"])))


@app.post("/api/projects/<id>/link")
def link(id: str):
    return jsonify(opendesigns.link(opendesigns.project_of(user(), id)))


@app.get("/api/projects/<id>/shares")
def shares(id: str):
    return jsonify(opendesigns.project_of(user(), id).share.list())


@app.post("/api/projects/<id>/shares")
def share(id: str):
    return jsonify(opendesigns.share(opendesigns.project_of(user(), id), request.get_json().get("expires_in"))), 201


@app.delete("/api/projects/<id>/shares/<share_id>")
def revoke(id: str, share_id: str):
    opendesigns.project_of(user(), id).share.revoke(share_id)
    return "", 204


@app.get("/api/usage")
def usage():
    return jsonify(opendesigns.usage(user()))


@app.get("/api/events")
def activity():
    me = user()
    with lock:
        return jsonify([event for event in events.values() if event["data"].get("external_user_id") == me])


@app.post("/api/cancel")
def cancel():
    gone = opendesigns.cancel(user())
    session.clear()
    return jsonify(destroyed=gone)


@app.post("/hooks/portico")
def hook():
    body = request.get_data()
    if not opendesigns.receive(body, request.headers, kept):
        return "", 401
    event = json.loads(body)
    with lock:
        events.setdefault(event["id"], event)
    return "", 204


def main():
    file = KEPT / "secrets.json"
    if file.exists():
        kept.update(json.loads(file.read_text()))
    for line in opendesigns.set_up(DOMAIN, f"http://127.0.0.1:{PORT}/hooks/portico", kept):
        print(f"set-up: {line}", flush=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept))
    file.chmod(0o600)
    print(f"OpenDesigns: http://app.{DOMAIN}:{PORT}/", flush=True)
    app.run("127.0.0.1", PORT, threaded=True)


if __name__ == "__main__":
    main()
