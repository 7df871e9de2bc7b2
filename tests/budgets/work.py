"""What is asked of the program while it is counted: an app of its own behind it, and visitors who ask one thing after another."""

import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import urllib.request

PATIENCE = 30
SMALL = b"x" * 120
LARGE = b"x" * (1 << 20)
# What a WebSocket says; RFC 6455 has it masked by whoever visits.
MESSAGE = b"m" * 64
MASK = b"\x11\x22\x33\x44"


class App:
    """The app: 120 bytes, 1 MiB at `/large`, and a WebSocket that says what it is told at `/socket`."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            visitor, _ = listener.accept()
            visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(visitor,), daemon=True).start()

    def serve(self, visitor: socket.socket) -> None:
        head = b""
        while data := visitor.recv(65536):
            head += data
            if not head.endswith(b"\r\n\r\n"):
                continue
            if head.startswith(b"GET /socket"):
                key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head).group(1)
                accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                visitor.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
                return self.echo(visitor)
            body = LARGE if head.startswith(b"GET /large") else SMALL
            visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            head = b""

    def echo(self, visitor: socket.socket) -> None:
        length = 2 + len(MASK) + len(MESSAGE)
        while frame := exactly(visitor, length):
            # The mask is the visitor's own, so what it hides is known without taking it off.
            visitor.sendall(bytes([frame[0], len(MESSAGE)]) + MESSAGE)


def exactly(stream: socket.socket, length: int) -> bytes:
    """So many bytes, or none if the other side is gone."""
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            return b""
        data += more
    return data


class Program:
    """The program as it says that it is, with a private and a public sandbox of the app."""

    def __init__(self, facts: dict, app: App) -> None:
        self.facts = facts
        self.plain, self.secure = port_of(facts["preview_url"]), port_of(facts["https_url"])
        self.private = f"{app.port}-budget.{facts['zone']}"
        self.public = f"{app.port}-public.{facts['zone']}"
        self.unknown = f"0-nobody.{facts['zone']}"
        public = self.call("/sandboxes", {"slug": "public"})["data"]["id"]
        self.call(f"/sandboxes/{public}/previews", {"port": app.port, "visibility": "public"})
        self.sandbox = self.call("/sandboxes", {"slug": "budget"})["data"]["id"]
        self.token = self.mint()

    def call(self, path: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {self.facts['api_key']}", "Content-Type": "application/json"}
        url = f"{self.facts['api_url']}/api/v1{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def mint(self) -> str:
        return self.call(f"/sandboxes/{self.sandbox}/preview-token", {"expires_in": 86400})["token"]


def port_of(url: str) -> int:
    return int(url.split("/")[2].rsplit(":", 1)[1])


def connect(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


# What a browser says besides, when a page of the preview asks for something, and when a person does.
FETCH = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": "*/*"}
NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document",
              "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Accept-Encoding": "gzip, deflate, br",
           "Accept-Language": "en-US,en;q=0.9"}


def cookie(token: str) -> dict:
    return {"Cookie": f"theme=dark; __Host-preview={token}; lang=en"}


def head(path: str, host: str, fields: dict) -> bytes:
    fields = {"Host": host, **BROWSER, **fields}
    return "".join([f"GET {path} HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in fields.items()), "\r\n"]).encode()


class Kept:
    """Requests on one kept connection, and what each must get in response."""

    def __init__(self, port: int, status: int, length: "int | None" = None) -> None:
        self.stream, self.status, self.length = connect(port), status, length

    def ask(self, request: bytes) -> None:
        self.stream.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.stream.recv(65536)
            assert more, f"the connection ended: {data!r}"
            data += more
        top, body = data.split(b"\r\n\r\n", 1)
        assert top.startswith(b"HTTP/1.1 %d " % self.status), top
        assert b"connection: close" not in top.lower(), top
        length = int(re.search(rb"(?i)content-length: *(\d+)", top).group(1))
        assert self.length in (None, length), top
        assert length > 0 and len(exactly(self.stream, length - len(body))) == length - len(body), "the body ended early"


class Socket:
    """A WebSocket whose messages come back."""

    def __init__(self, program: Program) -> None:
        self.stream = connect(program.plain)
        host = f"{program.private}:{program.plain}"
        self.stream.sendall(head("/socket", host, {
            **FETCH, **cookie(program.token), "Connection": "Upgrade", "Upgrade": "websocket", "Origin": f"http://{host}",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
        response = b""
        while not response.endswith(b"\r\n\r\n"):
            response += exactly(self.stream, 1)
        assert response.startswith(b"HTTP/1.1 101 "), response
        masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(MESSAGE))
        self.frame = bytes([0x82, 0x80 | len(MESSAGE)]) + MASK + masked

    def say(self) -> None:
        self.stream.sendall(self.frame)
        response = exactly(self.stream, 2 + len(MESSAGE))
        assert response == bytes([0x82, len(MESSAGE)]) + MESSAGE, response


class Http2:
    """Requests one after another on an HTTP/2 connection (RFC 9113), no fields of which are remembered (RFC 7541, section 6.2.2)."""

    DATA, HEADERS, SETTINGS, PING, WINDOW = 0, 1, 4, 6, 8

    def __init__(self, program: Program) -> None:
        tls = ssl.create_default_context(cafile=program.facts["ca"])
        tls.set_alpn_protocols(["h2"])
        self.stream = tls.wrap_socket(connect(program.secure), server_hostname=program.private)
        assert self.stream.selected_alpn_protocol() == "h2", "no HTTP/2"
        self.stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(self.SETTINGS, 0, 0, b""))
        fields = {":method": "GET", ":scheme": "https", ":path": "/small", ":authority": program.private,
                  **BROWSER, **FETCH, **cookie(program.token)}
        self.fields = b"".join(b"\x00" + self.text(n.lower()) + self.text(v) for n, v in fields.items())
        self.id = -1

    @staticmethod
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    @staticmethod
    def text(text: str) -> bytes:
        """Words with their length: seven bits, and more where they are not enough."""
        data = text.encode()
        if len(data) < 127:
            return bytes([len(data)]) + data
        length, rest = b"\x7f", len(data) - 127
        while rest >= 128:
            length, rest = length + bytes([rest % 128 | 128]), rest // 128
        return length + bytes([rest]) + data

    def ask(self) -> None:
        self.id += 2
        ended, body, acknowledged = False, b"", False
        # END_STREAM and END_HEADERS.
        self.stream.sendall(self.frame(self.HEADERS, 5, self.id, self.fields))
        while not ended:
            top = exactly(self.stream, 9)
            assert top, "the connection ended"
            kind, flags, stream = struct.unpack(">BBI", top[3:])
            payload = exactly(self.stream, int.from_bytes(top[:3], "big"))
            if kind == self.SETTINGS and not flags & 1:
                self.stream.sendall(self.frame(self.SETTINGS, 1, 0, b""))
            elif kind == self.HEADERS:
                # The entry 8 of the static table: `:status` 200. A change of the table's size may come before it.
                acknowledged = b"\x88" in payload[:8]
            elif kind == self.DATA:
                body += payload
            assert kind in (self.DATA, self.HEADERS, self.SETTINGS, self.PING, self.WINDOW), (kind, payload)
            ended = stream == self.id and kind in (self.DATA, self.HEADERS) and bool(flags & 1)
        assert acknowledged and body == SMALL, (acknowledged, body)
        # What was read is given back before the window of the connection is used up.
        if self.id % 201 == 0:
            self.stream.sendall(self.frame(self.WINDOW, 0, 0, struct.pack(">I", 1 << 15)))


class Fresh:
    """Requests with a token each that was never seen before."""

    def __init__(self, program: Program) -> None:
        self.program, self.kept, self.tokens = program, Kept(program.plain, 200, len(SMALL)), []

    def prepare(self, count: int) -> None:
        self.tokens = [self.program.mint() for _ in range(count)]

    def ask(self) -> None:
        self.kept.ask(head("/small", self.program.private, {**FETCH, **cookie(self.tokens.pop())}))


class Same:
    """The same request again and again."""

    def __init__(self, kept: Kept, request: bytes) -> None:
        self.kept, self.request = kept, request

    def ask(self) -> None:
        self.kept.ask(self.request)


def works(program: Program):
    """What is counted, each once the one before is done: its name, how to do it once, how often, and what makes ready for so many."""
    def same(path: str, host: str, fields: dict, status: int, length: "int | None" = None):
        return Same(Kept(program.plain, status, length), head(path, host, fields)).ask

    asked, bad = {**FETCH, **cookie(program.token)}, {**NAVIGATION, **cookie(program.token[:-6] + "AAAAAA")}
    yield "small GET, token cookie", same("/small", program.private, asked, 200, len(SMALL)), 100, None
    fresh = Fresh(program)
    yield "small GET, fresh token", fresh.ask, 40, fresh.prepare
    yield "small GET, public port", same("/small", program.public, FETCH, 200, len(SMALL)), 100, None
    yield "404 page", same("/", program.unknown, NAVIGATION, 404), 100, None
    yield "401 page, bad token", same("/", program.private, bad, 401), 100, None
    yield "1 MiB download", same("/large", program.private, asked, 200, len(LARGE)), 10, None
    yield "WebSocket message and its echo", Socket(program).say, 100, None
    yield "small GET, HTTP/2 over TLS", Http2(program).ask, 100, None
