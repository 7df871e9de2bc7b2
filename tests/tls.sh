#!/usr/bin/env bash
# TLS and HTTP/2 as programs of others see them: openssl, curl, nghttp and h2load against a running server.
#
#   PORTICO_BIN=target/dist/portico tests/tls.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PORTICO_BIN:?names the program to test}"
bin=$(realpath "$PORTICO_BIN")
work=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
passed=0
ok() { passed=$((passed + 1)); echo "  ok: $*"; }
fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work/log" >&2 || true
    exit 1
}
# Whether a text matches an extended expression, with a name for the case.
expect() { if grep -Eq -- "$2" <<<"$3"; then ok "$1"; else fail "$1: expected $2 in: $(head -c 1500 <<<"$3")"; fi; }
refuse() { if grep -Eq -- "$2" <<<"$3"; then fail "$1: found $2 in: $(head -c 1500 <<<"$3")"; else ok "$1"; fi; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

echo "certificates"
mkdir "$work/certificates"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/ca.key" -out "$work/ca.pem" \
    -subj "/CN=Test authority" -days 2 2>/dev/null
# Writes a new pair for the zone: the key first, so that a look in between finds a pair that does not fit and keeps the old one.
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/zone.key" -out "$work/zone.csr" -subj "/CN=zone" 2>/dev/null
    printf 'subjectAltName=DNS:*.sandbox.localhost\n' >"$work/zone.ext"
    openssl x509 -req -in "$work/zone.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
        -extfile "$work/zone.ext" -out "$work/zone.pem" 2>/dev/null
    mv "$work/zone.key" "$work/certificates/zone.key"
    mv "$work/zone.pem" "$work/certificates/zone.pem"
}
issue

http=$(free_port) https=$(free_port) api=$(free_port) admin=$(free_port) app=$(free_port)
# A quick app: it responds to everything with a few bytes and keeps connections.
cat >"$work/app.py" <<'PY'
import asyncio, sys
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
PY
python3 "$work/app.py" "$app" &
pids+=($!)

cat >"$work/portico.toml" <<TOML
[preview]
zones = ["sandbox.localhost"]
listen = "127.0.0.1:$http"
workers = 2
[tls]
listen = "127.0.0.1:$https"
directory = "$work/certificates"
reload = "100ms"
handshake = "1s"
hsts = "24h"
redirect = true
[api]
listen = "127.0.0.1:$api"
[admin]
listen = "127.0.0.1:$admin"
[store]
data = "$work/data"
[networks]
allow = ["127.0.0.0/8"]
[limits]
# The load comes from one address.
public_rate = 0
[log]
format = "json"
filter = "warn,portico::access=info"
file = "$work/access"
TOML
"$bin" check --config "$work/portico.toml" >/dev/null
"$bin" init --data "$work/data" >/dev/null
"$bin" tenant create test --data "$work/data" >/dev/null
key=$("$bin" key create --tenant test --label test --data "$work/data" | grep -o 'msk_[A-Za-z0-9_-]*')
"$bin" serve --config "$work/portico.toml" >"$work/log" 2>&1 &
server=$!
pids+=("$server")
for _ in $(seq 100); do
    curl -fsS "http://127.0.0.1:$admin/readyz" >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || fail "the server does not start"
    sleep 0.1
done
post() { curl -fsS -X POST -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$2" "http://127.0.0.1:$api/api/v1$1"; }
id=$(post /sandboxes '{"name": "tls", "slug": "tls", "upstream": "127.0.0.1"}' | grep -o '"id": *"[^"]*"' | head -1 | cut -d'"' -f4)
post "/sandboxes/$id/previews" "{\"port\": $app, \"visibility\": \"public\"}" >/dev/null
host="$app-tls.sandbox.localhost"
url="https://$host:$https"
resolve=(--resolve "$host:$https:127.0.0.1" --resolve "$host:$http:127.0.0.1" --cacert "$work/ca.pem")
get() { curl -sS --max-time 20 "${resolve[@]}" "$@"; }
# A handshake with openssl; what it prints, whether it comes about or not.
shake() { timeout 20 openssl s_client -connect "127.0.0.1:$https" -servername "$host" -CAfile "$work/ca.pem" "$@" </dev/null 2>&1 || true; }

echo "versions and suites"
for version in tls1_2 tls1_3; do
    said=$(shake -"$version")
    expect "$version is spoken" 'Cipher is (TLS_|ECDHE-)' "$said"
    expect "$version: the certificate holds" 'Verify return code: 0' "$said"
    expect "$version: nothing is compressed" 'Compression: NONE|No ALPN' "$said"
done
for version in tls1 tls1_1; do
    # The library's own minimum is lowered, so that the refusal is the server's.
    said=$(shake -"$version" -cipher 'ALL:@SECLEVEL=0')
    expect "$version is refused" 'alert protocol version|alert number 70|alert handshake failure' "$said"
    refuse "$version is refused for good" 'Cipher is [A-Z]+[-_]' "$said"
done
for suite in AES128-SHA AES256-SHA256 AES128-GCM-SHA256 ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA384 ECDHE-ECDSA-CAMELLIA128-SHA256 \
    DHE-RSA-AES128-GCM-SHA256 ADH-AES128-GCM-SHA256 ECDHE-ECDSA-NULL-SHA PSK-AES128-GCM-SHA256; do
    said=$(shake -tls1_2 -cipher "$suite:@SECLEVEL=0")
    expect "$suite is refused" 'alert handshake failure|alert number 40|no cipher' "$said"
done
for suite in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305; do
    expect "$suite is taken" "Cipher is $suite" "$(shake -tls1_2 -cipher "$suite")"
done
# Suites that this openssl cannot speak any more (RC4, 3DES, export) are offered by hand; 0x00ff is no suite.
raw=$(python3 - "$https" "$host" <<'PY'
import socket, struct, sys
port, host = int(sys.argv[1]), sys.argv[2].encode()
def hello(suites):
    name = struct.pack("!HBH", len(host) + 3, 0, len(host)) + host
    groups = struct.pack("!HHH", 4, 29, 23)
    schemes = struct.pack("!HHH", 4, 0x0403, 0x0804)
    extensions = b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in ((0, name), (10, groups), (11, b"\x01\x00"), (13, schemes)))
    body = b"\x03\x03" + bytes(32) + b"\x00" + struct.pack("!H", 2 * len(suites)) + b"".join(struct.pack("!H", s) for s in suites)
    body += b"\x01\x00" + struct.pack("!H", len(extensions)) + extensions
    shake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(shake)) + shake
for name, suites in {"RC4": [0x0005, 0xC007, 0xC011], "3DES": [0x000A, 0xC008, 0xC012], "export": [0x0003, 0x0008], "NULL": [0x0001, 0x003B],
                     "good": [0xC02B, 0x00FF]}.items():
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(hello(suites))
        response = s.recv(4096)
        kind = {21: "alert", 22: "hello"}.get(response[0] if response else 0, "nothing")
        print(name, kind, response[6] if kind == "alert" else "")
PY
)
for suite in RC4 3DES export NULL; do expect "$suite is refused" "^$suite alert (40|71)" "$raw"; done
expect "the same hello with a good suite is taken" '^good hello' "$raw"
said=$( (sleep 1; echo R; sleep 1; echo Q) | timeout 20 openssl s_client -tls1_2 -connect "127.0.0.1:$https" -servername "$host" -CAfile "$work/ca.pem" 2>&1 || true)
expect "renegotiation was tried" 'RENEGOTIATING' "$said"
expect "renegotiation is refused" 'no renegotiation|alert number 100|wrong version|unexpected|error:' "$said"
refuse "no session comes of it" 'read R BLOCK.*read R BLOCK.*Verify return' "$(tr '\n' ' ' <<<"$said")"

echo "protocols"
expect "h2 is chosen" 'ALPN protocol: h2' "$(shake -alpn h2,http/1.1)"
expect "http/1.1 is chosen" 'ALPN protocol: http/1.1' "$(shake -alpn http/1.1)"
expect "none is chosen where none is offered" 'No ALPN negotiated' "$(shake)"
expect "an unknown one is refused with its alert" 'alert number 120|no application protocol' "$(shake -alpn ftp)"
shake -tls1_3 -sess_out "$work/session" >/dev/null
shake -tls1_2 -sess_out "$work/session12" >/dev/null
expect "TLS 1.2 resumes" '^Reused' "$(shake -tls1_2 -sess_in "$work/session12")"
said=$(printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" | timeout 20 openssl s_client -quiet -tls1_3 -early_data /dev/null \
    -connect "127.0.0.1:$https" -servername "$host" 2>&1 || true)
refuse "no early data" 'Early data was accepted' "$said"
expect "curl --http2" '^2 200 hello$' "$(get --http2 -w ' ' -o "$work/body" -w '%{http_version} %{http_code} ' "$url/"; cat "$work/body"; echo)"
expect "curl --http1.1" '^1.1 200$' "$(get --http1.1 -o /dev/null -w '%{http_version} %{http_code}\n' "$url/")"
expect "curl --http2-prior-knowledge over TLS" '^2 200$' "$(get --http2-prior-knowledge -o /dev/null -w '%{http_version} %{http_code}\n' "$url/")"
# The clear-text port speaks HTTP/1 only: an h2c upgrade is ignored, and the preface of HTTP/2 is told so.
expect "an upgrade to h2c is ignored" '^1.1 308$' "$(get --http2 -o /dev/null -w '%{http_version} %{http_code}\n' "http://$host:$http/")"
if get --http2-prior-knowledge -o /dev/null "http://$host:$http/" 2>/dev/null; then fail "clear text speaks HTTP/2"; else ok "clear text does not speak HTTP/2"; fi
said=$(python3 - "$http" <<'PY'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as s:
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    data = b""
    while more := s.recv(4096):
        data += more
print(data.decode("latin-1"))
PY
)
expect "the preface gets a response in HTTP/1.1" '^HTTP/1.1 505 ' "$said"
for asked in "$host 200" "evil.example 421"; do
    said=$(printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${asked% *}" \
        | timeout 20 openssl s_client -quiet -noservername -connect "127.0.0.1:$https" 2>/dev/null || true)
    expect "without a name asked for, $asked" "^HTTP/1.1 ${asked#* } " "$said"
done
said=$(timeout 20 nghttp -v --no-verify-peer -H ":authority: $host" "https://127.0.0.1:$https/" 2>&1 || true)
expect "nghttp sees our settings" 'recv SETTINGS frame' "$said"
expect "nghttp sees the limit of streams" 'SETTINGS_MAX_CONCURRENT_STREAMS\(0x03\):100' "$said"
expect "nghttp sees WebSocket by extended CONNECT" 'UNKNOWN\(0x08\):1|SETTINGS_ENABLE_CONNECT_PROTOCOL\(0x08\):1' "$said"
expect "nghttp gets a response" ':status: (200|421)' "$said"

echo "redirect and HSTS"
said=$(get -i "http://$host:$http/a/b?c=d&e=%2F")
expect "308 to https" '^HTTP/1.1 308' "$said"
expect "path and query are kept" "^location: https://$host:$https/a/b\?c=d&e=%2F" "$(tr '[:upper:]' '[:lower:]' <<<"$said" | sed 's/%2f/%2F/')"
expect "HSTS" '^strict-transport-security: max-age=86400' "$(get -i "$url/")"

echo "load"
load() { h2load "$@" --sni="$host" -H ":authority: $host:$https" "https://127.0.0.1:$https/" 2>&1; }
h2load --help 2>&1 | grep -q -- '--sni' || load() { h2load "$@" --connect-to="127.0.0.1:$https" "$url/" 2>&1; }
said=$(load -n 2000 -c 10 -m 10)
expect "2,000 requests on 10 connections" '2000 succeeded, 0 failed, 0 errored, 0 timeout' "$said"
expect "... all of them 2xx" 'status codes: 2000 2xx' "$said"
before=$(shake | openssl x509 -noout -fingerprint)
(for _ in 1 2 3 4 5 6; do sleep 0.4; issue; done) &
issuing=$!
for round in 1 2 3 4 5; do
    said=$(load -n 3000 -c 10 -m 10)
    expect "certificates renewed under load, round $round" 'status codes: 3000 2xx, 0 3xx, 0 4xx, 0 5xx' "$said"
done
wait "$issuing"
sleep 0.5
after=$(shake | openssl x509 -noout -fingerprint)
[ "$before" != "$after" ] || fail "the renewed certificate is not shown"
ok "the renewed certificate is shown"
expect "it was taken over without a restart" 'certificate_reloads_total\{outcome="loaded"\} [1-9]' "$(curl -sS "http://127.0.0.1:$admin/metrics")"

echo "handshakes that get nowhere"
said=$(python3 - "$https" <<'PY'
import socket, sys, time
port = int(sys.argv[1])
def took(send):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        started = time.monotonic()
        send(s)
        s.settimeout(8)
        try:
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - started
def dribble(s):
    try:
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9:
            s.sendall(bytes([byte]))
            time.sleep(0.05)
    except ConnectionError:
        pass
print("silent %.1f" % took(lambda s: None))
print("half %.1f" % took(lambda s: s.sendall(b"\x16\x03\x01\x02\x00\x01")))
print("dribbling %.1f" % took(dribble))
crowd = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(300)]
for s in crowd:
    s.sendall(b"\x16")
time.sleep(2)
closed = 0
for s in crowd:
    s.settimeout(2)
    try:
        closed += s.recv(1) == b""
    except ConnectionError:
        closed += 1
    except TimeoutError:
        pass
print("crowd", closed)
PY
)
for kind in silent half; do expect "$kind: closed at the deadline" "^$kind (0\.9|1\.[0-9]|2\.[0-9])" "$said"; done
expect "dribbling: closed at the deadline" '^dribbling ([1-5]\.[0-9])' "$said"
expect "a crowd of 300: all closed" '^crowd 300$' "$said"
expect "everybody else is served" '^200$' "$(get -o /dev/null -w '%{http_code}\n' "$url/")"

echo "access lines"
get --http2 -o /dev/null "$url/seen-over-h2?mt=secret"
for _ in $(seq 50); do grep -q seen-over-h2 "$work/access" && break; sleep 0.1; done
line=$(grep seen-over-h2 "$work/access" | tail -1)
expect "a request over h2 is noted" '"path":"/seen-over-h2"' "$line"
expect "... with its host" "\"host\":\"$host\"" "$line"
refuse "... and without its query" 'secret' "$(cat "$work/access" "$work/log")"
kill -TERM "$server"
wait "$server" && ok "it ends in order" || fail "it ends with $?"
[ "$passed" -ge 70 ] || fail "only $passed checks were made"
echo "$passed checks passed"
