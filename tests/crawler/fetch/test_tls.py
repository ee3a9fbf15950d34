"""Certificates good and bad, made on the spot."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crawler.fetch.client import Client
from crawler.fetch.exchange import FetchError
from crawler.mediatypes import DEFAULT, MediaTypes

from .conftest import MakeClient
from .servers import DnsServer, Server, answer
from .test_client import Endless

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that signs what it is asked to."""

    directory: Path
    name: str

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "certificate", certificate)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def file(self) -> Path:
        return self.directory / f"{self.name}.pem"

    def context(
        self, *names: str, start: datetime.datetime = NOW - DAY, end: datetime.datetime = NOW + DAY
    ) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)  # type: ignore[attr-defined]
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
            .add_extension(  # Python >= 3.13 insists on it
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),  # type: ignore[attr-defined]
                critical=False,
            )
            .sign(self.key, hashes.SHA256())  # type: ignore[attr-defined]
        )
        file = self.directory / f"{id(key)}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The one authority that clients trust."""
    made = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


async def reason(client: Client, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url)
    return caught.value.reason


async def test_a_good_certificate(authority: Authority, make_client: MakeClient) -> None:
    tls = authority.context("127.0.0.1", "good.test")
    zone = {"good.test": [["127.0.0.1"]]}
    async with DnsServer(zone) as dns, Server(answer(), tls=tls) as server:
        client = make_client(dns_server=dns.address)
        for _ in range(3):
            got = await client.fetch(server.url())
            assert (got.payload, got.ip) == (b"ok", "127.0.0.1")
        assert server.connections == 1
        assert (await client.fetch(server.url(host="good.test"))).status == 200


async def test_what_is_not_read_on_is_hung_up_on(
    authority: Authority, make_client: MakeClient
) -> None:
    script = Endless("200 OK\r\nContent-Type: image/png")
    async with Server(script, tls=authority.context("127.0.0.1")) as server:
        with pytest.raises(FetchError, match="content-type: it is image/png"):
            await make_client().fetch(server.url(), refuses=MediaTypes(DEFAULT).refuses)
        await asyncio.wait_for(script.hung_up.wait(), 30)
    assert script.sent < 10_000_000


async def test_only_http_1_is_offered(authority: Authority, make_client: MakeClient) -> None:
    tls = authority.context("127.0.0.1")
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with Server(answer(), tls=tls) as server:
        await make_client().fetch(server.url())
        chosen = server.visits[0].writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == "http/1.1"


@pytest.mark.parametrize(
    ("start", "end"), [(NOW - 3 * DAY, NOW - 2 * DAY), (NOW + DAY / 2, NOW + DAY)]
)
async def test_an_expired_certificate(
    authority: Authority,
    make_client: MakeClient,
    start: datetime.datetime,
    end: datetime.datetime,
) -> None:
    tls = authority.context("127.0.0.1", start=start, end=end)
    async with Server(answer(), tls=tls) as server:
        assert await reason(make_client(), server.url()) == "tls-expired"
        assert not server.visits


async def test_a_certificate_for_another_name(
    authority: Authority, make_client: MakeClient
) -> None:
    zone = {"bad.test": [["127.0.0.1"]]}
    tls = authority.context("other.test", "127.0.0.9")
    async with DnsServer(zone) as dns, Server(answer(), tls=tls) as server:
        client = make_client(dns_server=dns.address)
        assert await reason(client, server.url()) == "tls-name"
        assert await reason(client, server.url(host="bad.test")) == "tls-name"


async def test_an_unknown_authority(
    authority: Authority, make_client: MakeClient, tmp_path: Path
) -> None:
    tls = Authority(tmp_path, "stranger").context("127.0.0.1")
    async with Server(answer(), tls=tls) as server:
        assert await reason(make_client(), server.url()) == "tls-untrusted"


@pytest.mark.usefixtures("authority")
async def test_a_server_that_does_not_speak_tls(make_client: MakeClient) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await reason(make_client(), url) == "tls-error"


@pytest.mark.usefixtures("authority")
async def test_a_server_that_hangs_up_in_the_handshake(make_client: MakeClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await reason(make_client(), url) == "reset"


@pytest.mark.usefixtures("authority")
async def test_a_handshake_without_end_is_a_connect_timeout(make_client: MakeClient) -> None:
    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(dawdle, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await reason(make_client(connect=0.3), url) == "connect-timeout"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_no_weaker_than_tls_1_2(authority: Authority, make_client: MakeClient) -> None:
    tls = authority.context("127.0.0.1")
    tls.minimum_version = ssl.TLSVersion.TLSv1
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Server(answer(), tls=tls) as server:
        assert await reason(make_client(), server.url()) in ("tls-error", "reset")
