#!/usr/bin/env bash
# `portico share` as a colleague sees it: two machines, played by two network namespaces with a cable between them. Needs root.
#
#   PORTICO_BIN=target/release/portico tests/share.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PORTICO_BIN:?names the program to test}"
bin=$(realpath "$PORTICO_BIN")
work=$(mktemp -d)
here=portico-here-$$ there=portico-there-$$
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    ip netns delete "$here" 2>/dev/null || true
    ip netns delete "$there" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
passed=0
ok() { passed=$((passed + 1)); echo "  ok: $*"; }
fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}
expect() { if grep -Eq -- "$2" <<<"$3"; then ok "$1"; else fail "$1: expected $2 in: $(head -c 1500 <<<"$3")"; fi; }

ip netns add "$here"
ip netns add "$there"
ip -n "$here" link add eth0 type veth peer name eth0 netns "$there"
for end in "$here 10.77.0.1" "$there 10.77.0.2"; do
    read -r namespace address <<<"$end"
    ip -n "$namespace" link set lo up
    ip -n "$namespace" link set eth0 up
    ip -n "$namespace" address add "$address/24" dev eth0
done

# Two apps on loopback: one is shown, the other is nobody's business.
mkdir "$work/shown" "$work/other"
echo "this is shown" >"$work/shown/index.html"
echo "nobody's business" >"$work/other/index.html"
for app in "shown 5173" "other 9000"; do
    read -r name port <<<"$app"
    ip netns exec "$here" python3 -m http.server --bind 127.0.0.1 --directory "$work/$name" "$port" >/dev/null 2>&1 &
    pids+=($!)
done

fact() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))' "$work/$name.json" "$1"; }
# Starts a command of the program on the one machine and waits for its facts. $1: a name for it.
start() {
    name=$1
    shift
    ip netns exec "$here" "$bin" "$@" --json --data "$work/data" >"$work/$name.json" 2>"$work/$name.log" &
    server=$!
    pids+=("$server")
    for _ in $(seq 100); do
        [ -s "$work/$name.json" ] && break
        kill -0 "$server" 2>/dev/null || fail "$name does not start"
        sleep 0.1
    done
    url=$(fact share_url) ca=$(fact share_ca)
    host=${url#*://}
    host=${host%%/*}
    site=${url%%://*}://$host
    port=${host##*:}
    host=${host%%:*}
}
stop() {
    kill -INT "$server"
    wait "$server" || fail "$name ends with an error"
}
# A visit from the other machine. The name resolves as such services resolve it.
visit() { ip netns exec "$there" curl -sS --max-time 10 --resolve "$host:$port:10.77.0.1" ${ca:+--cacert "$ca"} "$@"; }
status() { visit -o "$work/page" -w '%{http_code}' "$@" || true; }
# What listens on the one machine where others can reach it.
open_to_others() { ip netns exec "$here" ss -Hltn | awk '{print $4}' | grep -Ev '^(127\.|\[::1\])' | sort -u | tr '\n' ' '; }

echo "by TLS"
start tls share 5173
expect "the address was found, and is in the name" '^https://5173-[a-z0-9]+\.10-77-0-1\.sslip\.io:8443/\?ms=ms_[A-Za-z0-9_-]{22}$' "$url"
expect "the link opens, its certificate verified" '^this is shown$' "$(visit "$url")"
expect "a browser is signed in" '^303 .*this is shown' \
    "$(visit -o /dev/null -w '%{http_code} ' -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Dest: document' -H 'Accept: text/html' -c "$work/jar" "$url" && visit -b "$work/jar" "$site/")"
expect "without the link there is no entry" '^401$' "$(status "$site/")"
expect "nor with another one" '^401$' "$(status "${url}x")"
expect "another port is not there" '^404$' "$(visit -o /dev/null -w '%{http_code}' -H "Host: 9000-${host#*-}:$port" -b "$work/jar" "$site/" || true)"
expect "nothing else listens for others" '^10\.77\.0\.1:8443 $' "$(open_to_others)"
expect "who does not trust the authority is warned" 'certificate' "$(ca='' visit "$url" 2>&1 || true)"
constraints=$(openssl x509 -in "$ca" -noout -ext nameConstraints)
expect "the authority can vouch for this machine" 'DNS:10-77-0-1\.sslip\.io' "$constraints"
expect "and for no other" '^1 IP:10\.77\.0\.1/255\.255\.255\.255$' "$(grep -c DNS: <<<"$constraints") $(grep -o 'IP:.*' <<<"$constraints")"
read -ra revoke <<<"$(fact revoke)"
"$bin" "${revoke[@]:1}" >/dev/null
for _ in $(seq 50); do [ "$(status "$url")" = 403 ] && break; sleep 0.1; done
expect "once it is revoked, the link is dead" '^403$' "$(status "$url")"
expect "and whoever was signed in is out" '^403$' "$(status -b "$work/jar" "$site/")"
stop
expect "nothing is left listening" '^$' "$(open_to_others)"

echo "for a time"
start short share localhost:5173 --for 4s
expect "the link opens" '^200$' "$(status "$url")"
sleep 4.2
expect "its time is over" '^410$' "$(status "$url")"
stop

echo "without TLS, by the address alone"
start plain share http://localhost:5173/index.html --http --name-suffix none
expect "the link has the address" '^http://10\.77\.0\.1:8080/index\.html\?ms=' "$url"
expect "it opens" '^this is shown$' "$(visit "$url")"
expect "without it there is no entry" '^401$' "$(status "$site/")"
stop
expect "when the process has ended, nothing responds" '^000$' "$(status "$url" 2>/dev/null)"

echo "beside portico dev"
start dev dev 5173 --listen 10.77.0.1
expect "the link opens" '^this is shown$' "$(visit "$url")"
expect "without it there is no entry" '^401$' "$(status "$site/")"
expect "the demo is not there" '^404$' "$(visit -o /dev/null -w '%{http_code}' -H "Host: 3000-demo.${host#*.}:$port" "$site/" || true)"
expect "API and metrics stay on this machine" '^10\.77\.0\.1:8443 $' "$(open_to_others)"
stop
echo "$passed passed"
