"""Asks a running Portico which metrics it has, and looks for those that the dashboard and the alert rules name."""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from urllib.parse import urlsplit

METRIC = re.compile(r"\bportico_[a-z_0-9]+")


def exposed(program):
    """Names of all samples that a Portico exposes which has been up for a moment."""
    with tempfile.TemporaryDirectory() as data:
        arguments = ["dev", "--json", "--data", data, "--port", "0", "--https-port", "0", "--api-port", "0", "--admin-port", "0"]
        process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            facts = json.loads(process.stdout.readline())
            # Some families are there once something has been counted.
            unknown = urllib.request.Request(f"http://127.0.0.1:{urlsplit(facts['preview_url']).port}/", headers={"Host": "3000-nobody." + facts["zone"]})
            try:
                urllib.request.urlopen(unknown, timeout=10)
            except urllib.error.HTTPError as error:
                assert error.code == 404, error
            with urllib.request.urlopen(facts["admin_url"].rstrip("/") + "/metrics", timeout=10) as response:
                text = response.read().decode()
        finally:
            process.terminate()
            process.wait(30)
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    names = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
    return names | families | {family + "_total" for family in families}


def named_by_dashboard(path):
    """Metrics that the expressions of the dashboard name, and a look at its layout."""
    with open(path) as file:
        dashboard = json.load(file)
    names, cells, ids = set(), set(), set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        taken = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not taken & cells, f"{panel['title']} lies over another panel"
        assert place["x"] + place["w"] <= 24, f"{panel['title']} is wider than the grid"
        assert panel["id"] not in ids, f"{panel['id']} is there twice"
        cells |= taken
        ids.add(panel["id"])
        for target in panel.get("targets", []):
            found = METRIC.findall(target["expr"])
            assert found, f"{panel['title']} shows none of Portico's metrics"
            names.update(found)
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$job", "j").replace("$instance", "i")
            keep_rule(expression, panel["title"])
    return names


RULES = []


def keep_rule(expression, title):
    """Keeps an expression for promtool, which reads no dashboards."""
    RULES.append({"record": f"panel:{len(RULES)}", "expr": expression, "labels": {"panel": re.sub(r"\W", "_", title)}})


def main():
    there = exposed(os.environ["PORTICO_BIN"])
    folder = "packaging/monitoring"
    wanted = named_by_dashboard(f"{folder}/dashboard.json")
    with open(f"{folder}/alerts.yaml") as file:
        wanted |= set(METRIC.findall(file.read()))
    unknown = {name for name in wanted if name not in there and re.sub(r"_(bucket|sum|count)$", "", name) not in there}
    if unknown:
        sys.exit(f"not among Portico's metrics: {', '.join(sorted(unknown))}")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": RULES}]}, file)
        file.flush()
        subprocess.run(["promtool", "check", "rules", file.name], check=True, stdout=subprocess.DEVNULL)


main()
