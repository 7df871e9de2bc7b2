#!/usr/bin/env bash
# http 1.5.0: a request target with a fragment is parsed, and the fragment is gone without a word.
#
# RFC 9112 section 3.2 gives request targets no fragment, and RFC 9113 section 8.3.1 none to :path, so a server should refuse such a request. What
# takes its target from `http::Uri` (hyper, h2, axum, tonic) cannot know that there was one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'T'
[package]
name = "fragment"
version = "0.0.0"
edition = "2024"
[dependencies]
http = "=1.5.0"
T
cat >"$work/src/main.rs" <<'R'
fn main() {
    for target in ["/page?a=1#part", "/#", "http://example.com/page#part"] {
        match target.parse::<http::Uri>() {
            Ok(uri) => println!("{target} -> {uri}"),
            Err(error) => println!("{target} -> refused: {error}"),
        }
    }
}
R
seen=$(cargo run --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target")
printf '%s\n' "$seen"
[ "$seen" = "/page?a=1#part -> /page?a=1
/# -> /
http://example.com/page#part -> http://example.com/page" ] || { echo "changed" >&2; exit 1; }
