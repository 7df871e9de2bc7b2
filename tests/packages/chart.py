"""Lints the chart with Helm's own code, renders it with many values, and checks what comes out against Kubernetes' schemas and Portico."""

import itertools
import os
import pathlib
import subprocess
import sys
import tempfile

import helm_python as helm
import kubernetes_validate
import yaml

KUBERNETES = ["1.29", "1.32", "1.36"]
TLS = {"enabled": True, "secrets": ["wildcard.sandbox", "other"], "hsts": "8760h"}
EVERYTHING = {
    "imagePullSecrets": [{"name": "pull"}],
    "zones": ["sandbox.example.com", "sandbox.example.org"],
    "defaultVisibility": "public",
    "tls": TLS,
    "networks": {"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "proxyProtocolFrom": ["10.9.0.0/24"], "trustedProxies": ["fd00::/8"]},
    "extraConfig": "[limits]\nconnections = 100\n",
    "service": {"annotations": {"a.example/b": "c"}, "loadBalancerClass": "example.com/internal"},
    "persistence": {"storageClass": "fast", "annotations": {"x": "y"}},
    "podAnnotations": {"p": "q"},
    "podLabels": {"team": "previews"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "networkPolicy": {"enabled": True, "apiFrom": [{"namespaceSelector": {}}], "adminFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
}
GOOD = {
    "defaults": {},
    "everything": EVERYTHING,
    "certificate": {"tls": {"enabled": True, "certificate": "CERT", "key": "KEY", "redirect": False}},
    "claim": {"persistence": {"existingClaim": "old"}},
    "no volume": {"persistence": {"enabled": False}, "service": {"type": "ClusterIP"}},
    "key apart": {"secretKey": {"existingSecret": "portico-key"}},
    "own configuration": {"config": '[preview]\nzones = ["a.example"]\n[networks]\nallow = ["10.0.0.0/8"]\n'},
}
# Values, and what the message has to say.
BAD = [
    ({"zones": []}, "zones"),
    ({"zones": ["*.example.com"]}, "zones"),
    ({"replicas": 3}, "replicas"),
    ({"service": {"type": "Ingress"}}, "type"),
    ({"tls": {"enabled": True}}, "tls.secrets"),
    ({"tls": {"enabled": True, "certificate": "CERT"}}, "tls.key"),
    ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "accessModes"),
    ({"networks": {"allow": ["everything"]}}, "allow"),
    ({"networks": {"allow": []}}, "allow"),
    ({"publicPort": 70000}, "publicPort"),
    ({"defaultVisibility": "secret"}, "defaultVisibility"),
]


def documents(chart, values):
    rendered = chart.render(values, name="demo", namespace="previews")
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(found, kind):
    return [document for document in found if document["kind"] == kind]


def check_schemas(found):
    for document, version in itertools.product(found, KUBERNETES):
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(document, version, strict=True)


def check_references(found):
    """Every volume that is mounted exists, every port that is named is one of the container's, and selectors find the pod."""
    (workload,) = of_kind(found, "StatefulSet")
    pod = workload["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
    volumes += [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    assert len(volumes) == len(set(volumes)), volumes
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), volumes
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    labels = pod["metadata"]["labels"].items()
    for service in of_kind(found, "Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels
    assert workload["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind(found, "Service")}


def certificates(folder):
    """Laid out as the cluster mounts them."""
    for secret in ("wildcard.sandbox", "other", "demo-portico-tls"):
        place = pathlib.Path(folder, "tls", secret)
        place.mkdir(parents=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=x",
             "-addext", "subjectAltName=DNS:*.sandbox.example.com", "-keyout", place / "tls.key", "-out", place / "tls.crt"],
            check=True, stderr=subprocess.DEVNULL,
        )
    pathlib.Path(folder, "data").mkdir()


def check_configuration(found, program, folder):
    """The program itself reads what the chart writes."""
    (config,) = [document for document in of_kind(found, "ConfigMap") if "portico.toml" in document["data"]]
    text = config["data"]["portico.toml"].replace("/etc/portico/", f"{folder}/").replace("/var/lib/portico", f"{folder}/data")
    path = pathlib.Path(folder, "portico.toml")
    path.write_text(text)
    checked = subprocess.run([program, "check", "--config", path], capture_output=True, text=True)
    assert checked.returncode == 0, text + checked.stdout + checked.stderr


def main():
    path, package, program = sys.argv[1:]
    folder = tempfile.mkdtemp(dir=os.environ["work"])
    certificates(folder)
    for source in (path, package):
        report = helm.lint(source, strict=True)
        worse = [message for message in report["messages"] if message["severity"] > 1]
        assert not worse and not report["errors"], report
    with helm.Chart.load(package) as chart:
        for name, values in GOOD.items():
            chart.validate_schema(values)
            found = documents(chart, values)
            try:
                check_schemas(found)
                check_references(found)
                check_configuration(found, program, folder)
            except Exception as error:
                sys.exit(f"chart with {name}: {error}")
        for values, said in BAD:
            try:
                chart.validate_schema(values)
                documents(chart, values)
            except helm.HelmError as error:
                assert said in str(error), f"{values}: {error}"
            else:
                sys.exit(f"the chart takes {values}")
        rules = of_kind(documents(chart, EVERYTHING), "PrometheusRule")[0]["spec"]
    with open("packaging/monitoring/alerts.yaml") as file:
        assert rules == yaml.safe_load(file), "the chart's alert rules are not the alert rules"


main()
