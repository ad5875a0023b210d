"""What is around a run: the web UI, TLS, `make load`'s own server, the options in --help."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loadtests import options
from tests.harness import ServerProcess
from tests.loadtests.runs import END, ROOT, Run, command, environment
from tests.waiting import PATIENCE, wait_until


def certificate(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now.replace(year=now.year + 2)
    )
    signed = made.sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (directory / "tls.pem").write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.pem")
    return context


async def test_tls(server: ServerProcess, tmp_path: Path) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, forth), copy(back, writer))

    front = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate(tmp_path))
    host = f"wss://localhost:{front.sockets[0].getsockname()[1]}/ws"
    summary = tmp_path / "summary.json"
    arguments = ("--tags", "chat", "-u", "3", "-r", "20", "-t", "30s", "--rate", "5", "--payload", "40000", *END)
    process = await asyncio.create_subprocess_exec(
        *command(host, summary, *arguments, "--insecure", "yes", "--rooms", "1"),
        cwd=tmp_path,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    front.close()
    result = Run(process.returncode or 0, output.decode(), summary)
    assert result.code == 0, result.output
    assert result.counts["delivered"] >= 60 and result.counts["missed"] == 0


def test_the_web_ui_starts_and_stops_a_run(server: ServerProcess, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [word for word in command(server.ws_url, tmp_path / "s.json") if word != "--headless"]
    page = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [*arguments, "--tags", "chat", "--web-host", "127.0.0.1", "--web-port", str(port)],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def get(path: str, form: dict[str, str] | None = None) -> str:
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(page + path, data, timeout=20) as answer:
            return str(answer.read().decode())

    def wait_for(path: str, text: str) -> str:
        content = ""

        def there() -> bool:
            nonlocal content
            with contextlib.suppress(OSError):
                content = get(path)
            assert process.poll() is None
            return text in content

        wait_until(there)
        return content

    try:
        form = wait_for("/", "max_p99_delivery_ms")  # the limits are in the form
        assert "storm_seconds" in form
        get(
            "/swarm",
            {"user_count": "3", "spawn_rate": "20", "host": server.ws_url, "rate": "8", "max_p99_delivery_ms": ""},
        )
        wait_for("/syncline", "delivered ")
        get("/stop", {"": ""})
        assert "all limits hold" in wait_for("/syncline", "audited 3")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def loadtests_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in environment().items() if name not in ("HOST", "CONFIG")}
    return subprocess.run(
        [sys.executable, "-m", "loadtests.run", *arguments],
        cwd=ROOT,
        env=kept | {"PYTHONPATH": os.pathsep.join((kept["PYTHONPATH"], str(ROOT)))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_make_load_brings_its_own_server() -> None:
    run = loadtests_run("--tags", "chat", "-u", "4", "-r", "20", "-t", "30s", "--rate", "5", *END)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "all limits hold" in run.stdout
    server = int(run.stdout.split("==> server ")[1].split()[0])
    assert not Path(f"/proc/{server}").exists()


def test_the_options_are_in_the_help_and_the_limits_on_the_page() -> None:
    shown = loadtests_run("--help").stdout
    page = (ROOT / "docs" / "load-testing.md").read_text("utf-8")
    for option in options.BY_DEST.values():
        assert f"--{option.name}" in shown
    for check in options.LIMITS:
        assert f"--{check.option.name}" in page
