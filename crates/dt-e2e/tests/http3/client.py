"""An HTTP/3 client that is not ours (aioquic): asks what main.rs wants to know
and prints the answers as one JSON object. Arguments: host, port, and the port
for HTTPS.

Decides nothing: what is right stands in main.rs.
"""

import asyncio
import http.client
import json
import ssl
import sys
import time

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, FrameType, H3Connection, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

DEADLINE_S = 15
# The library's own encoder of headers takes no more.
ENCODER_BYTES_MAX = 2000


def prefixed(first, bits, number):
    """An integer of RFC 7541 section 5.1 behind the bits of its first byte."""
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([first | number])
    out, number = bytearray([first | limit]), number - limit
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    out.append(number)
    return bytes(out)


def literal(fields):
    """A field section of names and values as they are (RFC 9204 section 4.5.6)."""
    block = bytearray(2)
    for name, value in fields:
        block += prefixed(0x20, 3, len(name)) + name
        block += prefixed(0x00, 7, len(value)) + value
    return bytes(block)


class Client(QuicConnectionProtocol):
    """Requests of one connection and what became of each."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}
        self.waiting = {}
        self.ended = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            self.done(event.stream_id, {"reset": event.error_code})
        if isinstance(event, ConnectionTerminated):
            for stream in list(self.waiting):
                self.done(stream, {"closed": event.error_code})
            if not self.ended.done():
                self.ended.set_result(event.error_code)
        for http in self.http.handle_event(event):
            answer = self.answers.get(http.stream_id)
            if answer is None:
                continue
            if isinstance(http, HeadersReceived):
                answer["headers"] = {k.decode(): v.decode() for k, v in http.headers}
            if isinstance(http, DataReceived):
                answer["body"] += http.data.decode()
            if http.stream_ended:
                self.done(http.stream_id, {})

    def done(self, stream, more):
        waiting = self.waiting.pop(stream, None)
        if waiting is not None and not waiting.done():
            answer = self.answers.pop(stream) | more
            answer["status"] = int(answer["headers"].get(":status", 0))
            waiting.set_result(answer)

    def start(self, method, path, headers=(), end=True):
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = {"headers": {}, "body": ""}
        self.waiting[stream] = asyncio.get_running_loop().create_future()
        fields = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self.authority.encode()),
            (b":path", path.encode()),
            *((k.encode(), v.encode()) for k, v in headers),
        ]
        if sum(len(k) + len(v) for k, v in fields) < ENCODER_BYTES_MAX:
            self.http.send_headers(stream, fields, end_stream=end)
        else:
            block = literal(fields)
            frame = encode_frame(FrameType.HEADERS, block)
            self._quic.send_stream_data(stream, frame, end_stream=end)
        return stream

    def body(self, stream, data, end=True):
        self.http.send_data(stream, data, end_stream=end)

    async def answer(self, stream):
        self.transmit()
        return await asyncio.wait_for(self.waiting[stream], DEADLINE_S)

    async def ask(self, method, path, headers=(), body=None):
        stream = self.start(method, path, headers, end=body is None)
        if body is not None:
            self.body(stream, body)
        return await self.answer(stream)


JSON = (("content-type", "application/json"),)


async def rules(client):
    """What the same API says to everybody."""
    found = {
        "health": await client.ask("GET", "/api/v1/health"),
        "nowhere": await client.ask("GET", "/api/v1/nowhere"),
        "wrong_method": await client.ask("DELETE", "/api/v1/meetings"),
        "page": await client.ask("GET", "/"),
    }
    meeting = json.dumps({"display_name": "Over HTTP/3"}).encode()
    found["created"] = await client.ask("POST", "/api/v1/meetings", JSON, meeting)
    found["too_large"] = await client.ask("POST", "/api/v1/meetings", JSON, b" " * 200_000)
    found["little_too_large_header"] = await client.ask(
        "GET", "/api/v1/health", (("x-filler", "v" * 20_000),)
    )
    found["far_too_large_header"] = await client.ask(
        "GET", "/api/v1/health", [(f"x-filler-{n}", "v" * 30_000) for n in range(10)]
    )
    found["after_all"] = await client.ask("GET", "/api/v1/health")
    return found


async def many(client, count):
    """So many requests at once, more than a connection may have open."""
    began = time.monotonic()
    streams = [client.start("GET", "/api/v1/health") for _ in range(count)]
    answers = await asyncio.gather(*(client.answer(stream) for stream in streams))
    return {
        "ok": sum(answer["status"] == 200 for answer in answers),
        "elapsed_ms": (time.monotonic() - began) * 1000,
    }


async def unfinished(client):
    """Requests whose bodies never end, and one that does."""
    for _ in range(50):
        stream = client.start("POST", "/api/v1/meetings", JSON, end=False)
        client.body(stream, b"{", end=False)
    return await client.ask("GET", "/api/v1/health")


async def resets(client):
    """Requests that are taken back at once, until the server has enough."""
    opened = 0
    while opened < 2000 and not client.ended.done():
        for _ in range(50):
            stream = client._quic.get_next_available_stream_id()
            # A header frame of 32 bytes that never come.
            client._quic.send_stream_data(stream, b"\x01\x20")
            client.transmit()
            client._quic.reset_stream(stream, 0x10C)
            client.transmit()
            opened += 1
        # aioquic resets streams above its limit, too; by then there are new ones.
        try:
            await asyncio.wait_for(client.ping(), DEADLINE_S)
        except ConnectionError:
            break
    ended = await asyncio.wait_for(client.ended, DEADLINE_S)
    return {"opened": opened, "closed": ended}


def announced(host, port):
    """What an answer over TCP says of HTTP/3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=DEADLINE_S)
    connection.request("GET", "/api/v1/health")
    return connection.getresponse().getheader("alt-svc")


async def main(host, port, https_port):
    def configuration():
        return QuicConfiguration(
            alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_NONE
        )

    async def with_client(what):
        async with connect(
            host, port, configuration=configuration(), create_protocol=Client
        ) as client:
            client.authority = f"{host}:{port}"
            return await what(client)

    print(
        json.dumps(
            {
                "announced": announced(host, https_port),
                "rules": await with_client(rules),
                "many": await with_client(lambda client: many(client, 500)),
                "unfinished": await with_client(unfinished),
                "resets": await with_client(resets),
                "in_the_end": await with_client(
                    lambda client: client.ask("GET", "/api/v1/health")
                ),
            }
        )
    )


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
