"""A WebTransport peer over aioquic's HTTP/3, for tests/interop.rs.

    peer.py client PORT CAFILE CLOSER     connects to https://localhost:PORT/interop
    peer.py server CERTFILE KEYFILE CLOSER    prints {"port": N} and takes one session

Both echo whatever the other side sends (a stream both ways on itself, a stream
one way by one back, a datagram by one back), and send one of each of their own and
wait for the echo. CLOSER is "python" or "rust": who closes the session when all
of it has worked. What was seen is printed as one line of JSON.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import FrameType, H3Connection
from aioquic.h3.events import (
    DataReceived,
    DatagramReceived,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import stream_is_unidirectional
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated

CLOSE_SESSION = 0x2843
# Larger than a packet and than a frame of the other side.
LARGE = bytes(range(256)) * 400
DEADLINE_SECONDS = 20


def close_capsule(code, reason):
    payload = code.to_bytes(4, "big") + reason.encode()
    return encode_uint_var(CLOSE_SESSION) + encode_uint_var(len(payload)) + payload


def parse_close(data):
    buffer = Buffer(data=data)
    while not buffer.eof():
        kind = buffer.pull_uint_var()
        payload = buffer.pull_bytes(buffer.pull_uint_var())
        if kind == CLOSE_SESSION:
            return int.from_bytes(payload[:4], "big"), payload[4:].decode()
    return None


class Peer(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.h3 = None
        self.session = None
        self.headers = {}
        self.accepted = asyncio.Event()
        self.received = {}
        self.own = {}
        self.echoes = asyncio.Queue()
        self.enough = asyncio.Event()
        self.request_data = b""
        self.closed = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.h3 = H3Connection(self._quic, enable_webtransport=True)
        if isinstance(event, ConnectionTerminated):
            self.over.set()
        if self.h3 is not None:
            for happened in self.h3.handle_event(event):
                self.happened(happened)

    def happened(self, event):
        if isinstance(event, HeadersReceived):
            self.headers = dict(event.headers)
            self.session = event.stream_id
            self.answer()
        elif isinstance(event, DataReceived) and event.stream_id == self.session:
            self.request_data += event.data
            if event.stream_ended and not self.closed.done():
                self.closed.set_result(parse_close(self.request_data))
        elif isinstance(event, DatagramReceived):
            if event.data.startswith(b"py"):
                self.echoes.put_nowait(("datagram", event.data))
            elif event.data == b"enough":
                self.enough.set()
            else:
                self.h3.send_datagram(self.session, event.data)
                self.transmit()
        elif isinstance(event, WebTransportStreamDataReceived):
            stream = event.stream_id
            self.received[stream] = self.received.get(stream, b"") + event.data
            if event.stream_ended:
                self.stream_ended(stream, self.received.pop(stream))

    def answer(self):
        """A server answers the request; a client has nothing to say."""
        if not self._quic.configuration.is_client:
            assert self.headers[b":protocol"] == b"webtransport"
            # The last one that is offered, to see that it is the server's choice.
            offered = self.headers[b"wt-available-protocols"].decode().split(",")
            answer = [(b":status", b"200"), (b"wt-protocol", offered[-1].strip().encode())]
            self.h3.send_headers(self.session, answer)
            self.transmit()
        self.accepted.set()

    def stream_ended(self, stream, data):
        if stream in self.own:
            self.echoes.put_nowait(("bidi", data))
        elif stream_is_unidirectional(stream):
            if data.startswith(b"py"):
                self.echoes.put_nowait(("uni", data))
                return
            back = self.h3.create_webtransport_stream(self.session, is_unidirectional=True)
            self._quic.send_stream_data(back, data, end_stream=True)
        else:
            self._quic.send_stream_data(stream, data, end_stream=True)
        self.transmit()

    def request(self, port):
        stream = self._quic.get_next_available_stream_id()
        self.h3.send_headers(
            stream,
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":authority", f"localhost:{port}".encode()),
                (b":path", b"/interop?from=aioquic"),
                (b":protocol", b"webtransport"),
                (b"x-interop", b"aioquic"),
                (b"wt-available-protocols", b'"first", "second"'),
            ],
        )
        self.transmit()

    async def run(self, closer):
        await self.accepted.wait()
        sent = {"bidi": b"py bidi" + LARGE, "uni": b"py uni" + LARGE, "datagram": b"py datagram"}
        bidi = self.h3.create_webtransport_stream(self.session)
        self.own[bidi] = True
        # aioquic does not note that what comes back on a stream of its own is the
        # session's, and would read frames of HTTP/3 there.
        with self.h3._get_or_create_stream(bidi) as stream:
            stream.frame_type = FrameType.WEBTRANSPORT_STREAM
            stream.session_id = self.session
        self._quic.send_stream_data(bidi, sent["bidi"], end_stream=True)
        uni = self.h3.create_webtransport_stream(self.session, is_unidirectional=True)
        self._quic.send_stream_data(uni, sent["uni"], end_stream=True)
        self.h3.send_datagram(self.session, sent["datagram"])
        self.transmit()
        echoed = {}
        while len(echoed) < 3:
            kind, data = await self.echoes.get()
            echoed[kind] = data == sent[kind]
        close = None
        if closer == "python":
            # The other side says when it has seen enough.
            await self.enough.wait()
            capsule = close_capsule(70000, "von Python, größer")
            self.h3.send_data(self.session, capsule, end_stream=True)
            self.transmit()
        else:
            close = await self.closed
            self.h3.send_data(self.session, b"", end_stream=True)
            self.transmit()
        await self.over.wait()
        seen = {name.decode(): value.decode() for name, value in self.headers.items()}
        print(json.dumps({"echoed": echoed, "close": close, "headers": seen}), flush=True)


def configuration(is_client):
    return QuicConfiguration(
        is_client=is_client, alpn_protocols=["h3"], max_datagram_frame_size=65536
    )


async def client(port, cafile, closer):
    config = configuration(True)
    config.server_name = "localhost"
    config.verify_mode = ssl.CERT_REQUIRED
    config.load_verify_locations(cafile)
    async with connect(
        "127.0.0.1", int(port), configuration=config, create_protocol=Peer
    ) as peer:
        peer.request(port)
        await peer.run(closer)


async def server(certfile, keyfile, closer):
    config = configuration(False)
    config.load_cert_chain(certfile, keyfile)
    session = asyncio.get_running_loop().create_future()

    def create(*args, **kwargs):
        peer = Peer(*args, **kwargs)
        session.set_result(peer)
        return peer

    listening = await serve("127.0.0.1", 0, configuration=config, create_protocol=create)
    port = listening._transport.get_extra_info("sockname")[1]
    print(json.dumps({"port": port}), flush=True)
    await (await session).run(closer)
    listening.close()


async def main():
    role = {"client": client, "server": server}[sys.argv[1]]
    await asyncio.wait_for(role(*sys.argv[2:]), DEADLINE_SECONDS)


asyncio.run(main())
