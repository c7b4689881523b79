"""A server that answers as AWS's services do and records what it is sent, with certificates, and a tunnelling proxy.

The sandbox plays AWS as it should be; this one plays whoever sits at AWS's address.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

REGION = "us-east-1"
AWS_NAMES = tuple(f"{star}.amazonaws.com" for star in ("*", "*.s3", f"*.{REGION}", f"*.sso.{REGION}", f"*.s3.{REGION}"))
"""Names of the hosts that the tests connect to, as DNS names of a certificate."""

LOOPBACK = "127.0.0.1"


class Authority:
    """A certificate authority.

    Args:
        folder: Where its files are written.
        name: Of the authority and of its files.

    Attributes:
        bundle: The file with its certificate.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(name, self._key, issuer=(name, self._key), is_authority=True)
        self.bundle = folder / f"{name}.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server(
        self,
        *,
        names: Sequence[str] = (*AWS_NAMES, LOOPBACK),
        subject: str = "server",
        days: tuple[int, int] = (-1, 1),
        by_leaf: bool = False,
    ) -> ssl.SSLContext:
        """A server's context, with a certificate of this authority.

        Args:
            names: Hosts that the certificate names.
            subject: Common name of its subject.
            days: First and last day on which it is valid, from now.
            by_leaf: It is signed by a certificate of this authority which is no authority itself.
        """
        issuer, chain = (self._name, self._key), b""
        if by_leaf:
            key = ec.generate_private_key(ec.SECP256R1())
            chain = _certificate("leaf", key, issuer=issuer, names=names).public_bytes(Encoding.PEM)
            issuer = ("leaf", key)
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(subject, key, issuer=issuer, names=names, days=days)
        path = self._folder / f"{self._name}-server.pem"
        path.write_bytes(
            made.public_bytes(Encoding.PEM)
            + chain
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


_Issuer = tuple[str, ec.EllipticCurvePrivateKey]


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: _Issuer,
    names: Sequence[str] = (),
    days: tuple[int, int] = (-1, 1),
    is_authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    issuer_name, issuer_key = issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        # Python 3.13 requires these of a trusted chain.
        .add_extension(_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


# -- Answers -----------------------------------------------------------------------------------------------------------

EXPIRES = "2099-01-01T00:00:00Z"
_ROLE = "".join(
    f"<{tag}>{value}</{tag}>"
    for tag, value in (
        ("AccessKeyId", "ASIAROLE"),
        ("SecretAccessKey", "secret"),
        ("SessionToken", "token"),
        ("Expiration", EXPIRES),
    )
)
_METADATA = {
    "Code": "Success",
    "AccessKeyId": "ASIAMETA",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": EXPIRES,
}
_SSO = {"accessKeyId": "ASIASSO", "secretAccessKey": "secret", "sessionToken": "token", "expiration": 4070908800000}
_LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def as_aws(head: str, body: bytes) -> bytes:
    """The response of the service that a request is for."""
    method, target, _ = head.partition("\r\n")[0].split(" ")
    if method == "HEAD":
        return response(200, headers=(f"x-amz-bucket-region: {REGION}",))
    if action := re.search(rb"Action=(AssumeRole\w*)", body):
        name = action[1].decode()
        text = f"<{name}Response><{name}Result><Credentials>{_ROLE}</Credentials></{name}Result></{name}Response>"
        return response(200, text.encode())
    if "/federation/credentials" in target:
        return response(200, json.dumps({"roleCredentials": _SSO}).encode())
    if target == "/token":
        return response(200, b'{"accessToken":"NEW-TOKEN","tokenType":"Bearer","expiresIn":3600}')
    if "servicequotas" in head.lower():
        return response(200, b'{"Quota":{"Value":50}}')
    if "rekognitionservice" in head.lower():
        return response(200, b'{"Labels":[],"LabelModelVersion":"3.0"}')
    if target.endswith("/api/token"):
        return response(200, b"TOKEN")
    if target.endswith("/security-credentials/"):
        return response(200, b"role")
    if "credentials" in target:
        return response(200, json.dumps(_METADATA).encode())
    return response(200, _LISTING if "list-type" in target else b"")


def response(status: int, body: bytes = b"", headers: Sequence[str] = ()) -> bytes:
    """The bytes of a response."""
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(status: int, location: str) -> Callable[[str, bytes], bytes]:
    """Answers every request with a redirect."""
    return lambda *_: response(status, headers=(f"Location: {location}",))


Answer = Callable[[str, bytes], bytes]


class _Server:
    """A server on the loopback address; its connections end with its context.

    Attributes:
        port: TCP port.
    """

    def __init__(self) -> None:
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None) -> AsyncIterator[Self]:
        async with await asyncio.start_server(self._start, LOOPBACK, ssl=tls) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._until_closed(reader, writer)))

    async def _until_closed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        raise NotImplementedError


class AwsDouble(_Server):
    """A server at AWS's address; made by ``aws_double``.

    Attributes:
        heads: Heads of the requests.
        received_bytes: Bytes of requests, complete or not.
        connections: Connections that were opened, TLS handshake included.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.received_bytes = 0
        self.connections = 0
        self._answer = answer

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        self.connections += 1
        while first := await reader.read(1):
            self.received_bytes += 1
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            writer.write(self._answer(head, body))
            await writer.drain()


def aws_double(*, tls: ssl.SSLContext | None = None, answer: Answer = as_aws) -> AbstractAsyncContextManager[AwsDouble]:
    """A server at AWS's address.

    Args:
        tls: Its certificate; None for plain HTTP.
        answer: Head and body of a request to the bytes of its response.
    """
    return AwsDouble(answer).listening(tls)


class Tunnel(_Server):
    """A proxy that tunnels to one server, whatever host it is asked for; made by ``tunnel``.

    Attributes:
        heads: What it was sent before each tunnel was open.
    """

    def __init__(self, to_port: int, scheme: str) -> None:
        super().__init__()
        self.heads: list[str] = []
        self._to_port = to_port
        self._scheme = scheme

    @property
    def url(self) -> str:
        """To set as HTTPS_PROXY."""
        return f"{self._scheme}://{LOOPBACK}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open a tunnel."""
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        answers, server = await asyncio.open_connection(LOOPBACK, self._to_port)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pipe(reader, server), _pipe(answers, writer))
        finally:
            server.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


def tunnel(to_port: int, *, tls: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[Tunnel]:
    """A proxy that tunnels to a port of this machine.

    Args:
        to_port: The port.
        tls: The proxy's own certificate; None for a proxy over plain HTTP.
    """
    return Tunnel(to_port, "https" if tls else "http").listening(tls)
