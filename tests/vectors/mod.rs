//! Request vectors: bytes, and what has to become of them. Shared by the codec's own tests and the end-to-end suite, which sends
//! them to a running proxy and looks at what a recording sandbox received.
//!
//! In the texts `⏎` stands for CRLF and `H` (a line of its own) for the one valid `Host` field.

/// What has to become of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Refused with this status, connection closed, not one byte at the sandbox.
    Refuse(u16),
    /// Passed on.
    Accept,
}

/// A request and its fate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector {
    pub name: &'static str,
    text: &'static str,
    pub expect: Expect,
}

impl Vector {
    /// The bytes, with a host in place.
    pub(super) fn bytes(&self, host: &str) -> Vec<u8> {
        let text = self.text.replace("⏎H⏎", &format!("⏎Host: {host}⏎")).replace("{host}", host);
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match (c, u8::try_from(u32::from(c))) {
                ('⏎', _) => bytes.extend_from_slice(b"\r\n"),
                // The tables write odd bytes as the characters of Latin-1.
                (_, Ok(byte)) => bytes.push(byte),
                (c, Err(_)) => bytes.extend_from_slice(c.to_string().as_bytes()),
            }
        }
        bytes
    }
}

macro_rules! vectors {
    ($($expect:expr => { $($name:literal => $text:expr),+ $(,)? })+) => {
        &[$($(Vector { name: $name, text: $text, expect: $expect },)+)+]
    };
}

#[rustfmt::skip]
pub(super) const REQUESTS: &[Vector] = vectors! {
    Expect::Accept => {
    "ok-get" => "GET / HTTP/1.1⏎H⏎⏎",
    "ok-http10" => "GET / HTTP/1.0⏎H⏎⏎",
    "ok-query" => "GET /a?b=c&d=%20%2F/../x;y HTTP/1.1⏎H⏎⏎",
    "ok-odd-path" => "GET //a/./b/%2e%2e/|^`{} HTTP/1.1⏎H⏎⏎",
    "ok-absolute" => "GET http://{host}/x HTTP/1.1⏎H⏎⏎",
    "ok-absolute-no-path" => "GET http://{host} HTTP/1.1⏎H⏎⏎",
    "ok-absolute-query" => "GET HTTP://{host}?a=1 HTTP/1.1⏎H⏎⏎",
    "ok-options-star" => "OPTIONS * HTTP/1.1⏎H⏎⏎",
    "ok-options" => "OPTIONS /x HTTP/1.1⏎H⏎⏎",
    "ok-custom-method" => "PROPFIND /x HTTP/1.1⏎H⏎⏎",
    "ok-leading-crlf" => "⏎GET / HTTP/1.1⏎H⏎⏎",
    "ok-sized" => "POST / HTTP/1.1⏎H⏎Content-Length: 5⏎⏎hello",
    "ok-sized-zero" => "POST / HTTP/1.1⏎H⏎Content-Length: 0⏎⏎",
    "ok-sized-leading-zeros" => "POST / HTTP/1.1⏎H⏎Content-Length: 0000000005⏎⏎hello",
    "ok-chunked" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎⏎",
    "ok-chunked-case" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: ChUnKeD⏎⏎5⏎hello⏎0⏎⏎",
    "ok-chunked-hex" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎⏎0000A⏎0123456789⏎00⏎⏎",
    "ok-chunked-extension" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎⏎5;a=b;c=\"d e\"⏎hello⏎0;x⏎⏎",
    "ok-chunked-trailer" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎X-Sum: 1⏎⏎",
    "ok-chunked-tab-ows" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding:\tchunked \t⏎⏎5⏎hello⏎0⏎⏎",
    "ok-no-ows" => "GET / HTTP/1.1⏎H⏎X-A:b⏎⏎",
    "ok-empty-value" => "GET / HTTP/1.1⏎H⏎X-A:⏎X-B: ⏎⏎",
    "ok-obs-text" => "GET / HTTP/1.1⏎H⏎X-A: caf\u{e9}\u{ff}⏎⏎",
    "ok-tab-in-value" => "GET / HTTP/1.1⏎H⏎X-A: a\tb⏎⏎",
    "ok-token-name" => "GET / HTTP/1.1⏎H⏎X!#$%&'*+-.^_`|~9: a⏎⏎",
    "ok-host-port" => "GET / HTTP/1.1⏎Host: {host}:8080⏎⏎",
    "ok-host-dot" => "GET / HTTP/1.1⏎Host: {host}.⏎⏎",
    "ok-host-lower-name" => "GET / HTTP/1.1⏎hOsT: {host}⏎⏎",
    "ok-expect" => "POST / HTTP/1.1⏎H⏎Expect: 100-continue⏎Content-Length: 5⏎⏎hello",
    "ok-expect-case" => "POST / HTTP/1.1⏎H⏎Expect: 100-Continue⏎Content-Length: 5⏎⏎hello",
    "ok-connection-list" => "GET / HTTP/1.1⏎H⏎Connection: keep-alive, X-Foo⏎X-Foo: 1⏎⏎",
    "ok-h2c-ignored" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade, HTTP2-Settings⏎Upgrade: h2c⏎HTTP2-Settings: AAMAAABkAAQAAP__⏎⏎",
    "ok-upgrade-unnamed" => "GET / HTTP/1.1⏎H⏎Upgrade: websocket⏎⏎",
    }

    // Length and coding at once, and codings that try to look like chunked.
    Expect::Refuse(400) => {
    "clte" => "POST / HTTP/1.1⏎H⏎Content-Length: 6⏎Transfer-Encoding: chunked⏎⏎0⏎⏎G",
    "tecl" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎Content-Length: 4⏎⏎5c⏎GPOST / HTTP/1.1⏎⏎0⏎⏎",
    "clte-zero" => "POST / HTTP/1.1⏎H⏎Content-Length: 0⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
    "clte-case" => "POST / HTTP/1.1⏎H⏎content-length: 6⏎TRANSFER-ENCODING: chunked⏎⏎0⏎⏎G",
    "clte-get" => "GET / HTTP/1.1⏎H⏎Content-Length: 6⏎Transfer-Encoding: chunked⏎⏎0⏎⏎G",
    "te-twice" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
    "te-twice-identity" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked⏎Transfer-Encoding: identity⏎⏎0⏎⏎",
    "te-xchunked" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: xchunked⏎⏎0⏎⏎",
    "te-chunkedx" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunkedx⏎⏎0⏎⏎",
    "te-quoted" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: \"chunked\"⏎⏎0⏎⏎",
    "te-comma-front" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: , chunked⏎⏎0⏎⏎",
    "te-comma-back" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked,⏎⏎0⏎⏎",
    "te-chunked-identity" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked, identity⏎⏎0⏎⏎",
    "te-identity-chunked" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: identity, chunked⏎⏎0⏎⏎",
    "te-gzip-chunked" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: gzip, chunked⏎⏎0⏎⏎",
    "te-chunked-chunked" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked, chunked⏎⏎0⏎⏎",
    "te-param" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked;q=1⏎⏎0⏎⏎",
    "te-vt" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: \u{b}chunked⏎⏎0⏎⏎",
    "te-ff" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked\u{c}⏎⏎0⏎⏎",
    "te-nul" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: chunked\0⏎⏎0⏎⏎",
    "te-nbsp" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: \u{a0}chunked⏎⏎0⏎⏎",
    "te-space-colon" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding : chunked⏎⏎0⏎⏎",
    "te-tab-colon" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding\t: chunked⏎⏎0⏎⏎",
    "te-empty" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding:⏎⏎",
    "te-http10" => "POST / HTTP/1.0⏎H⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
    "te-fold" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding:⏎ chunked⏎⏎0⏎⏎",
    "te-fold-name" => "POST / HTTP/1.1⏎H⏎X: y⏎ Transfer-Encoding: chunked⏎⏎0⏎⏎",
    "te-cow" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: cow chunked⏎⏎0⏎⏎",
    "te-utf7" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: +AGM-hunked⏎⏎0⏎⏎",
    }

    Expect::Refuse(501) => {
    "te-identity" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: identity⏎⏎",
    "te-gzip" => "POST / HTTP/1.1⏎H⏎Transfer-Encoding: gzip⏎⏎",
    }

    Expect::Refuse(400) => {
    "cl-twice" => "POST / HTTP/1.1⏎H⏎Content-Length: 5⏎Content-Length: 5⏎⏎hello",
    "cl-twice-differ" => "POST / HTTP/1.1⏎H⏎Content-Length: 5⏎Content-Length: 6⏎⏎hello!",
    "cl-list" => "POST / HTTP/1.1⏎H⏎Content-Length: 5, 5⏎⏎hello",
    "cl-list-differ" => "POST / HTTP/1.1⏎H⏎Content-Length: 5, 6⏎⏎hello!",
    "cl-plus" => "POST / HTTP/1.1⏎H⏎Content-Length: +5⏎⏎hello",
    "cl-minus" => "POST / HTTP/1.1⏎H⏎Content-Length: -5⏎⏎hello",
    "cl-hex" => "POST / HTTP/1.1⏎H⏎Content-Length: 0x5⏎⏎hello",
    "cl-float" => "POST / HTTP/1.1⏎H⏎Content-Length: 5.0⏎⏎hello",
    "cl-exponent" => "POST / HTTP/1.1⏎H⏎Content-Length: 5e0⏎⏎hello",
    "cl-empty" => "POST / HTTP/1.1⏎H⏎Content-Length:⏎⏎hello",
    "cl-space" => "POST / HTTP/1.1⏎H⏎Content-Length: 5 5⏎⏎hello",
    "cl-underscore" => "POST / HTTP/1.1⏎H⏎Content-Length: 5_0⏎⏎hello",
    "cl-letters" => "POST / HTTP/1.1⏎H⏎Content-Length: five⏎⏎hello",
    "cl-overflow" => "POST / HTTP/1.1⏎H⏎Content-Length: 99999999999999999999⏎⏎hello",
    "cl-quoted" => "POST / HTTP/1.1⏎H⏎Content-Length: \"5\"⏎⏎hello",
    "cl-semicolon" => "POST / HTTP/1.1⏎H⏎Content-Length: 5;⏎⏎hello",
    "cl-comma" => "POST / HTTP/1.1⏎H⏎Content-Length: ,5⏎⏎hello",
    "cl-vt" => "POST / HTTP/1.1⏎H⏎Content-Length: \u{b}5⏎⏎hello",
    "cl-nbsp" => "POST / HTTP/1.1⏎H⏎Content-Length: \u{a0}5⏎⏎hello",
    "cl-superscript" => "POST / HTTP/1.1⏎H⏎Content-Length: \u{b2}⏎⏎he",
    "cl-space-colon" => "POST / HTTP/1.1⏎H⏎Content-Length : 5⏎⏎hello",
    "cl-fold" => "POST / HTTP/1.1⏎H⏎Content-Length:⏎ 5⏎⏎hello",
    "cl-get-list" => "GET / HTTP/1.1⏎H⏎Content-Length: 0, 5⏎⏎",
    }

    Expect::Refuse(400) => {
    "ln-lf" => "GET / HTTP/1.1⏎H⏎X-A: b\nX-C: d⏎⏎",
    "ln-lf-line" => "GET / HTTP/1.1\nHost: {host}\n\n",
    "ln-lf-end" => "GET / HTTP/1.1⏎H⏎X-A: b⏎\n",
    "ln-lf-request-line" => "GET / HTTP/1.1\nHost: {host}⏎⏎",
    "ln-cr" => "GET / HTTP/1.1⏎H⏎X-A: b\rX-C: d⏎⏎",
    "ln-cr-cr-lf" => "GET / HTTP/1.1⏎H⏎X-A: b\r⏎⏎",
    "ln-cr-name" => "GET / HTTP/1.1⏎H⏎X\r-A: b⏎⏎",
    "ln-nul-value" => "GET / HTTP/1.1⏎H⏎X-A: b\0c⏎⏎",
    "ln-nul-name" => "GET / HTTP/1.1⏎H⏎X\0A: b⏎⏎",
    "ln-esc" => "GET / HTTP/1.1⏎H⏎X-A: \u{1b}[2J⏎⏎",
    "ln-del" => "GET / HTTP/1.1⏎H⏎X-A: \u{7f}⏎⏎",
    "ln-vt-line" => "GET / HTTP/1.1⏎H⏎X-A: a\u{b}b⏎⏎",
    "ln-fold" => "GET / HTTP/1.1⏎H⏎X-A: b⏎ c⏎⏎",
    "ln-fold-tab" => "GET / HTTP/1.1⏎H⏎X-A: b⏎\tc⏎⏎",
    "ln-first-fold" => "GET / HTTP/1.1⏎ X: y⏎H⏎⏎",
    "ln-no-colon" => "GET / HTTP/1.1⏎H⏎garbage⏎⏎",
    "ln-empty-name" => "GET / HTTP/1.1⏎H⏎: b⏎⏎",
    "ln-space-name" => "GET / HTTP/1.1⏎H⏎X A: b⏎⏎",
    "ln-space-colon" => "GET / HTTP/1.1⏎H⏎X-A : b⏎⏎",
    "ln-utf8-name" => "GET / HTTP/1.1⏎H⏎X-\u{e9}: b⏎⏎",
    "ln-paren-name" => "GET / HTTP/1.1⏎H⏎X(A): b⏎⏎",
    "ln-two-crlf" => "⏎⏎GET / HTTP/1.1⏎H⏎⏎",
    "ln-lf-first" => "\nGET / HTTP/1.1⏎H⏎⏎",
    }

    Expect::Refuse(400) => {
    "rl-two-spaces" => "GET  / HTTP/1.1⏎H⏎⏎",
    "rl-space-target" => "GET /a b HTTP/1.1⏎H⏎⏎",
    "rl-tab" => "GET\t/ HTTP/1.1⏎H⏎⏎",
    "rl-trailing-space" => "GET / HTTP/1.1 ⏎H⏎⏎",
    "rl-leading-space" => " GET / HTTP/1.1⏎H⏎⏎",
    "rl-no-version" => "GET /⏎H⏎⏎",
    "rl-no-target" => "GET HTTP/1.1⏎H⏎⏎",
    "rl-lower-version" => "GET / http/1.1⏎H⏎⏎",
    "rl-version-junk" => "GET / HTTP/1.1x⏎H⏎⏎",
    "rl-version-two-digits" => "GET / HTTP/1.10⏎H⏎⏎",
    "rl-version-lead" => "GET / HTTP/01.1⏎H⏎⏎",
    "rl-method-paren" => "G(T / HTTP/1.1⏎H⏎⏎",
    "rl-method-utf8" => "G\u{c9}T / HTTP/1.1⏎H⏎⏎",
    "rl-method-empty" => " / HTTP/1.1⏎H⏎⏎",
    "rl-method-colon" => "GET: / HTTP/1.1⏎H⏎⏎",
    "rl-target-nul" => "GET /\0 HTTP/1.1⏎H⏎⏎",
    "rl-target-utf8" => "GET /\u{e9} HTTP/1.1⏎H⏎⏎",
    "rl-target-del" => "GET /\u{7f} HTTP/1.1⏎H⏎⏎",
    "rl-target-fragment" => "GET /a#b HTTP/1.1⏎H⏎⏎",
    "rl-target-cr" => "GET /a\rb HTTP/1.1⏎H⏎⏎",
    "rl-target-relative" => "GET a HTTP/1.1⏎H⏎⏎",
    "rl-target-star-get" => "GET * HTTP/1.1⏎H⏎⏎",
    "rl-target-authority" => "GET {host}:80 HTTP/1.1⏎H⏎⏎",
    "rl-target-ftp" => "GET ftp://{host}/ HTTP/1.1⏎H⏎⏎",
    "rl-target-no-scheme" => "GET ://{host}/ HTTP/1.1⏎H⏎⏎",
    "rl-empty" => "⏎⏎⏎",
    }

    Expect::Refuse(505) => {
    "rl-http2" => "GET / HTTP/2.0⏎H⏎⏎",
    "rl-http12" => "GET / HTTP/1.2⏎H⏎⏎",
    "rl-http09" => "GET / HTTP/0.9⏎H⏎⏎",
    "rl-http3" => "GET / HTTP/3.0⏎H⏎⏎",
    "rl-h2-preface" => "PRI * HTTP/2.0⏎⏎SM⏎⏎",
    }

    Expect::Refuse(400) => {
    "h-missing" => "GET / HTTP/1.1⏎X-A: b⏎⏎",
    "h-missing-10" => "GET / HTTP/1.0⏎⏎",
    "h-twice" => "GET / HTTP/1.1⏎H⏎Host: {host}⏎⏎",
    "h-twice-differ" => "GET / HTTP/1.1⏎H⏎Host: evil.example⏎⏎",
    "h-twice-case" => "GET / HTTP/1.1⏎H⏎HOST: evil.example⏎⏎",
    "h-empty" => "GET / HTTP/1.1⏎Host:⏎⏎",
    "h-blank" => "GET / HTTP/1.1⏎Host:   ⏎⏎",
    "h-userinfo" => "GET / HTTP/1.1⏎Host: user@{host}⏎⏎",
    "h-path" => "GET / HTTP/1.1⏎Host: {host}/x⏎⏎",
    "h-comma" => "GET / HTTP/1.1⏎Host: {host}, evil.example⏎⏎",
    "h-space" => "GET / HTTP/1.1⏎Host: {host} x⏎⏎",
    "h-query" => "GET / HTTP/1.1⏎Host: {host}?x⏎⏎",
    "h-fragment" => "GET / HTTP/1.1⏎Host: {host}#x⏎⏎",
    "h-port-big" => "GET / HTTP/1.1⏎Host: {host}:99999⏎⏎",
    "h-port-zero" => "GET / HTTP/1.1⏎Host: {host}:0⏎⏎",
    "h-port-text" => "GET / HTTP/1.1⏎Host: {host}:http⏎⏎",
    "h-port-empty" => "GET / HTTP/1.1⏎Host: {host}:⏎⏎",
    "h-port-two" => "GET / HTTP/1.1⏎Host: {host}:80:80⏎⏎",
    "h-scheme" => "GET / HTTP/1.1⏎Host: http://{host}⏎⏎",
    "h-nul" => "GET / HTTP/1.1⏎Host: {host}\0⏎⏎",
    "h-utf8" => "GET / HTTP/1.1⏎Host: \u{e9}{host}⏎⏎",
    "h-percent" => "GET / HTTP/1.1⏎Host: %33{host}⏎⏎",
    "h-underscore" => "GET / HTTP/1.1⏎Host: a_{host}⏎⏎",
    "h-two-dots" => "GET / HTTP/1.1⏎Host: {host}..⏎⏎",
    "h-lead-dot" => "GET / HTTP/1.1⏎Host: .{host}⏎⏎",
    "h-backslash" => "GET / HTTP/1.1⏎Host: {host}\\x⏎⏎",
    "h-space-colon" => "GET / HTTP/1.1⏎Host : {host}⏎⏎",
    "h-abs-other" => "GET http://169.254.169.254/latest/ HTTP/1.1⏎H⏎⏎",
    "h-abs-other-host" => "GET http://evil.example/ HTTP/1.1⏎H⏎⏎",
    "h-abs-userinfo" => "GET http://u@{host}/ HTTP/1.1⏎H⏎⏎",
    "h-abs-port" => "GET http://{host}:81/ HTTP/1.1⏎H⏎⏎",
    "h-abs-empty" => "GET http:///x HTTP/1.1⏎H⏎⏎",
    "h-abs-no-host" => "GET http://{host}/ HTTP/1.1⏎⏎",
    "h-abs-fragment" => "GET http://{host}/#x HTTP/1.1⏎H⏎⏎",
    }

    Expect::Refuse(405) => {
    "h-connect" => "CONNECT {host}:22 HTTP/1.1⏎H⏎⏎",
    "h-connect-path" => "CONNECT / HTTP/1.1⏎H⏎⏎",
    "h-trace" => "TRACE / HTTP/1.1⏎H⏎⏎",
    }

    Expect::Refuse(417) => {
    "expect-other" => "POST / HTTP/1.1⏎H⏎Expect: 200-ok⏎Content-Length: 5⏎⏎hello",
    "expect-list" => "POST / HTTP/1.1⏎H⏎Expect: 100-continue, x⏎Content-Length: 5⏎⏎hello",
    "expect-empty" => "POST / HTTP/1.1⏎H⏎Expect:⏎Content-Length: 5⏎⏎hello",
    }

    Expect::Refuse(400) => {
    "connection-junk" => "GET / HTTP/1.1⏎H⏎Connection: close;x=(⏎⏎",
    "up-ws-post" => "POST / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎Content-Length: 5⏎⏎hello",
    "up-ws-body" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎Content-Length: 5⏎⏎hello",
    "up-ws-chunked" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
    "up-ws-version" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 8⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎⏎",
    "up-ws-no-key" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎⏎",
    "up-ws-short-key" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: AAAA⏎⏎",
    "up-ws-10" => "GET / HTTP/1.0⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Version: 13⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎⏎",
    "up-two" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket⏎Upgrade: foo⏎⏎",
    "up-list" => "GET / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: websocket, foo⏎⏎",
    "up-foo-post" => "POST / HTTP/1.1⏎H⏎Connection: Upgrade⏎Upgrade: foo⏎Content-Length: 5⏎⏎hello",
    }
};

/// Bodies whose chunks are malformed: the headers are passed on, the body never looks complete to the sandbox.
#[rustfmt::skip]
pub(super) const BROKEN_CHUNKS: &[(&str, &str)] = &[
    ("ch-lf", "5\nhello⏎0⏎⏎"),
    ("ch-lf-data", "5⏎hello\n0⏎⏎"),
    ("ch-cr", "5\rhello⏎0⏎⏎"),
    ("ch-no-size", "⏎hello⏎0⏎⏎"),
    ("ch-space-before", " 5⏎hello⏎0⏎⏎"),
    ("ch-space-after", "5 ⏎hello⏎0⏎⏎"),
    ("ch-space-ext", "5 ;a⏎hello⏎0⏎⏎"),
    ("ch-tab", "5\t⏎hello⏎0⏎⏎"),
    ("ch-plus", "+5⏎hello⏎0⏎⏎"),
    ("ch-minus", "-5⏎hello⏎0⏎⏎"),
    ("ch-0x", "0x5⏎hello⏎0⏎⏎"),
    ("ch-h", "5h⏎hello⏎0⏎⏎"),
    ("ch-not-hex", "g⏎hello⏎0⏎⏎"),
    ("ch-underscore", "0_5⏎hello⏎0⏎⏎"),
    ("ch-comma", "5,5⏎hello⏎0⏎⏎"),
    ("ch-17-digits", "00000000000000005⏎hello⏎0⏎⏎"),
    ("ch-short", "4⏎hello⏎0⏎⏎"),
    ("ch-long", "6⏎hello⏎0⏎⏎"),
    ("ch-no-crlf", "5⏎hello0⏎⏎"),
    ("ch-ext-nul", "5;a\0⏎hello⏎0⏎⏎"),
    ("ch-ext-cr", "5;a\rb⏎hello⏎0⏎⏎"),
    ("ch-ext-lf", "5;a\nb⏎hello⏎0⏎⏎"),
    ("ch-last-lf", "5⏎hello⏎0\n⏎"),
    ("ch-last-lf2", "5⏎hello⏎0⏎\n"),
    ("ch-trailer-space", "5⏎hello⏎0⏎X : y⏎⏎"),
    ("ch-trailer-fold", "5⏎hello⏎0⏎X: y⏎ z⏎⏎"),
    ("ch-trailer-nul", "5⏎hello⏎0⏎X: \0⏎⏎"),
    ("ch-trailer-line", "5⏎hello⏎0⏎junk⏎⏎"),
    ("ch-fullwidth", "５⏎hello⏎0⏎⏎"),
];
