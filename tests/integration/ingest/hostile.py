"""What nobody should send: one table, each with its defined answer, and what such calls are made of."""

from dataclasses import dataclass

from .conftest import TOKEN

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PORTAL = f"auth[domain]=a.bitrix24.ru&auth[application_token]={TOKEN}".encode()
GOOD = b"event=ONCRMDEALADD&data[FIELDS][ID]=1&" + PORTAL

KEPT, QUARANTINED = b'"accepted"', b'"quarantined"'


def post(
    body: bytes = GOOD,
    headers: bytes = b"",
    *,
    target: bytes = b"/bitrix24",
    version: bytes = b"1.1",
    media: bytes = FORM,
    measured: bool = True,
) -> bytes:
    """A request as bytes; `measured` gives it the right Content-Length."""
    length = b"Content-Length: %d\r\n" % len(body) if measured else b""
    return b"POST %b HTTP/%b\r\nHost: x\r\n%b%b%b\r\n%b" % (target, version, media, headers, length, body)


def unmeasured(headers: bytes, body: bytes = b"") -> bytes:
    """A request whose length the headers tell in their own way."""
    return post(body, headers, measured=False)


def chunks(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def form(body: bytes) -> bytes:
    """A request with that form, from a portal of ours."""
    return post(body + b"&" + PORTAL)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """What is sent, and how it is answered; the parser in Python may say it otherwise."""

    sends: bytes
    status: int
    has: bytes = b""
    in_python: int | None = None


BODIES = {
    "wrong token": Hostile(sends=post(GOOD + b"x"), status=403, has=b"not_our_portal"),
    "no auth": Hostile(sends=post(b"event=X&data[a]=1"), status=403),
    "token outside of the top": Hostile(
        sends=post(b"event=X&data[auth][application_token]=" + TOKEN.encode()), status=403
    ),
    "auth a scalar, then a map": Hostile(sends=post(b"event=X&auth=x&" + PORTAL), status=200, has=KEPT),
    "auth a map, then a scalar": Hostile(sends=post(GOOD + b"&auth=x"), status=403),
    "the last token wins": Hostile(sends=post(GOOD + b"&auth[application_token]=x"), status=403),
    "token as a list": Hostile(sends=post(b"event=X&auth[application_token][]=" + TOKEN.encode()), status=403),
    "token with a NUL behind it": Hostile(sends=post(GOOD + b"%00"), status=403),
    "repeated key": Hostile(sends=form(b"event=X&data[a]=1&data[a]=2"), status=200, has=KEPT),
    "prototype pollution": Hostile(sends=form(b"event=X&data[__proto__][x]=1"), status=200, has=KEPT),
    "python attributes": Hostile(sends=form(b"event=X&data[__class__][__init__]=1"), status=200, has=KEPT),
    "more fields than max_fields": Hostile(
        sends=form(b"event=X&" + b"&".join(b"a%d=1" % n for n in range(10_000))), status=200, has=QUARANTINED
    ),
    "the same, not ours": Hostile(sends=post(b"&" * 60_000), status=403),
    "thousands of auth": Hostile(sends=post(b"auth=1&" * 9_000), status=403),
    "64 levels": Hostile(sends=form(b"event=X&data" + b"[a]" * 64 + b"=1"), status=200, has=QUARANTINED),
    "20,000 brackets": Hostile(sends=form(b"event=X&data" + b"[a]" * 20_000 + b"=1"), status=200, has=QUARANTINED),
    "20,000 open brackets": Hostile(sends=form(b"event=X&" + b"[" * 20_000), status=200, has=QUARANTINED),
    "auth of 20,000 brackets": Hostile(sends=post(b"auth" + b"[a]" * 20_000 + b"=1"), status=403),
    "unbalanced brackets": Hostile(sends=form(b"event=X&data[FIELDS=1&data]x[=2&[=3&]=4"), status=200, has=KEPT),
    "next index": Hostile(sends=form(b"event=X&data[]=1&data[]=2"), status=200, has=KEPT),
    "index of a billion": Hostile(sends=form(b"event=X&data[1000000000]=1"), status=200, has=KEPT),
    "index of 4,000 digits": Hostile(sends=form(b"event=X&data[" + b"9" * 4_000 + b"]=1"), status=200, has=KEPT),
    "bytes that are not UTF-8": Hostile(sends=form(b"event=X&data[a]=%FF%FE&data[%C3]=%28"), status=200, has=KEPT),
    "raw bytes that are not UTF-8": Hostile(sends=form(b"event=X&data[a]=\xff\xfe"), status=200, has=KEPT),
    "surrogates": Hostile(sends=form(b"event=X&data[a]=%ED%A0%80"), status=200, has=KEPT),
    "broken percent": Hostile(sends=form(b"event=X&a=%&b=%1&c=%zz&d=%u1234"), status=200, has=KEPT),
    "only separators": Hostile(sends=post(b"&&&===&;"), status=403),
    "NUL bytes": Hostile(sends=form(b"event=X&a%00b=%00&\x00=\x00"), status=200, has=KEPT),
    "a truncated body": Hostile(sends=post(GOOD[:-1]), status=403),
    "event with line ends": Hostile(sends=form(b"event=X%0D%0ASet-Cookie:+a&data=1"), status=200, has=KEPT),
    "event of 50,000 letters": Hostile(sends=form(b"event=" + b"X" * 50_000), status=200, has=KEPT),
    "event as a map": Hostile(sends=form(b"event[a]=X"), status=200, has=KEPT),
    "ts that is no time": Hostile(sends=form(b"event=X&ts=99999999999999999999999"), status=200, has=KEPT),
    "ts in other digits": Hostile(sends=form("event=X&ts=١٧٦٦٠٤٧١٢٤".encode()), status=200, has=KEPT),
    "a domain that is none": Hostile(
        sends=post(b"event=X&auth[domain]=../../etc&auth[application_token]=" + TOKEN.encode()),
        status=200,
        has=QUARANTINED,
    ),
    "no portal at all": Hostile(
        sends=post(b"event=X&auth[application_token]=" + TOKEN.encode()), status=200, has=QUARANTINED
    ),
    "a domain of 60,000 letters": Hostile(
        sends=post(b"event=X&auth[domain]=%b&auth[application_token]=%b" % (b"a" * 60_000, TOKEN.encode())),
        status=200,
        has=QUARANTINED,
    ),
    "a placement": Hostile(sends=post(b"PLACEMENT=DEFAULT&AUTH_ID=1"), status=422, has=b"awaits_answer"),
    "a payment system": Hostile(sends=post(b"BX_SYSTEM_PARAMS[RETURN_URL]=x"), status=422, has=b"awaits_answer"),
    "an empty body": Hostile(sends=post(b""), status=422, has=b"empty_body"),
    "an XML bomb": Hostile(sends=post(b"<!DOCTYPE a>", media=b"Content-Type: text/xml\r\n"), status=415),
    "JSON": Hostile(sends=post(b"{}", media=b"Content-Type: application/json\r\n"), status=415),
    "multipart": Hostile(sends=post(b"--a", media=b"Content-Type: multipart/form-data; boundary=a\r\n"), status=415),
    "gzip": Hostile(sends=post(b"\x1f\x8b", b"Content-Encoding: gzip\r\n"), status=415),
    "an unknown coding": Hostile(sends=post(GOOD, b"Content-Encoding: zstd, br\r\n"), status=415),
}

HEADERS = {
    "two lengths": Hostile(sends=post(GOOD, b"Content-Length: 3\r\n"), status=400),
    "length and chunked": Hostile(sends=post(GOOD, CHUNKED), status=400),
    "length below zero": Hostile(sends=unmeasured(b"Content-Length: -1\r\n"), status=400),
    "length with a plus": Hostile(sends=unmeasured(b"Content-Length: +5\r\n", b"hello"), status=400),
    "length of 5,000 digits": Hostile(sends=unmeasured(b"Content-Length: " + b"9" * 5000 + b"\r\n"), status=400),
    "length over the limit": Hostile(
        sends=unmeasured(b"Content-Length: 99999999\r\n"), status=413, has=b"body_too_large"
    ),
    "a body that doesn't come": Hostile(sends=unmeasured(b"Content-Length: 9\r\n"), status=408, has=b"body_too_slow"),
    "chunks over the limit": Hostile(sends=unmeasured(CHUNKED, chunks(*[b"a" * 30_000] * 4)), status=413),
    "chunks of one byte": Hostile(sends=unmeasured(CHUNKED, chunks(*(b"%c" % byte for byte in GOOD))), status=200),
    "chunk size no number": Hostile(sends=unmeasured(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"), status=400),
    "chunk size below zero": Hostile(sends=unmeasured(CHUNKED, b"-5\r\nabc\r\n0\r\n\r\n"), status=400),
    "chunk size over 64 bits": Hostile(sends=unmeasured(CHUNKED, b"f" * 17 + b"\r\nabc"), status=400, in_python=408),
    "chunk longer than it says": Hostile(sends=unmeasured(CHUNKED, b"3\r\nabcXX0\r\n\r\n"), status=400),
    "chunk extension of 100 KB": Hostile(
        sends=unmeasured(CHUNKED, b"3;" + b"a" * 100_000 + b"\r\nabc"), status=400, in_python=408
    ),
    "20,000 trailers": Hostile(
        sends=unmeasured(CHUNKED, chunks(GOOD)[:-2] + b"X: y\r\n" * 20_000 + b"\r\n"), status=431
    ),
    "gzip below chunked": Hostile(sends=unmeasured(b"Transfer-Encoding: gzip, chunked\r\n", chunks(b"x")), status=415),
    "unknown transfer coding": Hostile(
        sends=unmeasured(b"Transfer-Encoding: xchunked\r\n", chunks(b"x")), status=400, in_python=501
    ),
    "space in a header's name": Hostile(sends=post(GOOD, b"X y: z\r\n"), status=400),
    "header without a colon": Hostile(sends=post(GOOD, b"nocolon\r\n"), status=400),
    "NUL in a header": Hostile(sends=post(GOOD, b"X: a\x00b\r\n"), status=400),
    "folded header": Hostile(sends=post(GOOD, b"X: a\r\n b\r\n"), status=400),
    "header that is not UTF-8": Hostile(
        sends=post(GOOD, b"X: \xff\xfe\r\nTraceparent: \xff\r\n"), status=200, has=KEPT
    ),
    "media type that is not UTF-8": Hostile(sends=post(media=b"Content-Type: \xff\xff\r\n"), status=415),
    "request id to be injected": Hostile(sends=post(GOOD, b"X-Request-Id: <script>\r\n"), status=200, has=KEPT),
    "2,000 headers": Hostile(sends=post(GOOD, b"X: y\r\n" * 2000), status=431),
    "header of 100 KB": Hostile(sends=post(GOOD, b"X: " + b"y" * 100_000 + b"\r\n"), status=431),
    "two hosts": Hostile(sends=post(GOOD, b"Host: y\r\n"), status=400),
    "URL of 100 KB": Hostile(sends=post(target=b"/bitrix24/" + b"a" * 100_000), status=414),
    "control character in the URL": Hostile(sends=post(target=b"/bitrix24/\x01"), status=400),
    "raw bytes in the URL": Hostile(sends=post(target=b"/bitrix24/\xff?\xff\x80=%ff"), status=200, has=KEPT),
    "raw bytes and a control character in the URL": Hostile(sends=post(target=b"/bitrix24/\xff\x01"), status=400),
    "raw bytes in the method": Hostile(sends=post().replace(b"POST", b"P\xffST", 1), status=400),
    "raw bytes in the version": Hostile(sends=post(version=b"1.\xff"), status=400),
    "raw bytes in a header's name": Hostile(sends=post(GOOD, b"X\xff: a\r\n"), status=400),
    "escaped bytes in the path": Hostile(sends=post(target=b"/bitrix24/%ff%00%0d%0a"), status=200, has=KEPT),
    "escaped bytes in the query": Hostile(
        sends=post(target=b"/bitrix24?a=%ff&%00=%0d&secret=%ff"), status=200, has=KEPT
    ),
    "a whole URL, as to a proxy": Hostile(sends=post(target=b"http://evil.example/bitrix24"), status=200, has=KEPT),
    "a whole URL that is nowhere here": Hostile(sends=post(target=b"http://x/nowhere?/bitrix24"), status=404),
    "a whole URL without a path": Hostile(sends=post(target=b"http://x?/bitrix24"), status=404, has=b"not_found"),
    "a URL of another scheme": Hostile(sends=post(target=b"ftp://x/bitrix24"), status=404, has=b"not_found"),
    "no such address": Hostile(sends=post(target=b"/bitrix24x"), status=404, has=b"not_found"),
    "HTTP/2.0 in clear": Hostile(sends=post(version=b"2.0"), status=400),
    "TLS to the wrong port": Hostile(sends=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", status=400),
    "lines ended by LF": Hostile(sends=post().replace(b"\r\n", b"\n"), status=400),
    "CONNECT": Hostile(sends=b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n", status=404),
    "TRACE": Hostile(sends=b"TRACE /bitrix24 HTTP/1.1\r\nHost: x\r\n\r\n", status=405),
    "PUT": Hostile(sends=post().replace(b"POST", b"PUT", 1), status=405, has=b"method_not_allowed"),
    "a method that nobody knows": Hostile(sends=b"BREW /bitrix24 HTTP/1.1\r\nHost: x\r\n\r\n", status=400),
    "a web socket": Hostile(
        sends=b"GET /bitrix24 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        status=403,
    ),
    "an upgrade with a body": Hostile(
        sends=post(GOOD, b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n"),
        status=200,
        has=KEPT,
    ),
    "an expectation over the limit": Hostile(
        sends=unmeasured(b"Expect: 100-continue\r\nContent-Length: 99999999\r\n"), status=413
    ),
}

CASES = BODIES | HEADERS
