"""The command line, by function where that is enough and as a process where the process is the point."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import syncline
from syncline.server import cli
from syncline.server.backends.jwt import JwtAuth
from syncline.server.config.schema import AuthConfig
from syncline.server.limits import descriptors
from syncline.server.limits.arrivals import ALWAYS, OWN_DESCRIPTORS

from .rawclient import RawClient

SECRET = "a secret for tests that is long enough"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own, without settings of whoever runs it."""
    for variable in [variable for variable in os.environ if variable.startswith("SYNCLINE_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> str:
    Path("syncline.toml").write_text(text)
    return "syncline.toml"


class Server:
    """A `syncline serve` process."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        package = str(Path(syncline.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "syncline", "serve", "--port", "0", *arguments],
            env={**os.environ, "PYTHONPATH": package, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = ""

    def wait_ready(self) -> Server:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise AssertionError(f"{line!r}, {self.process.communicate()}")
        self.url = line.removeprefix("listening on ").strip()
        return self

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


# -- usage -------------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    """The exit code, also where argparse exits."""
    try:
        return cli.main(arguments)
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"syncline {syncline.__version__}\n"


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "syncline serve --config syncline.toml" in text


def test_the_examples_of_the_help_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    run("--help")
    examples = re.findall(r"^  (?:\w+=\S+ )?syncline (.+?)(?: {2,}.*| > .*)$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) == 9
    for example in examples:
        cli.parser().parse_args(example.split())


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["frobnicate"], ["token"], ["user"], ["serve", "--port", "eighty"], ["serve", "--log-level", "loud"]),
        *(["token", "create"], ["token", "create", "--user", "a", "--ttl", "soon"], ["check-config"]),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert "usage: syncline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert cli.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1y", "0", "0s", "1h30m", "inf", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="examples"):
        cli.duration(text)


# -- configuration -----------------------------------------------------------------------------------------------------


def test_check_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check-config", write("[server]\nport = 1\n")) == 0
    assert capsys.readouterr().out == "syncline.toml: ok\n"
    assert run("check-config", write("[server]\nport = -1\nhots = 'x'\n")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 3
    assert "syncline.toml:2: server.port: found -1" in captured.err
    assert "syncline.toml:3: server.hots: no such key; did you mean server.host?" in captured.err
    assert run("check-config", "missing.toml") == 2


def test_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SYNCLINE_SERVER__PORT", "x")
    assert run("check-config", write("")) == 2
    assert "environment SYNCLINE_SERVER__PORT" in capsys.readouterr().err


def test_print_config_is_a_file_to_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("print-config") == 0
    assert run("check-config", write(capsys.readouterr().out)) == 0


def test_a_default_file_can_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SYNCLINE_CONFIG", write(f"[server]\nport = 12\n[auth]\nsecret = '{SECRET}'"))
    assert run("print-config") == 0
    text = capsys.readouterr().out
    assert "\nport = 12\n" in text
    assert "# secret: is set, not shown" in text
    assert SECRET not in text


def test_config_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config-docs") == 0
    assert capsys.readouterr().out.startswith("# Configuration\n")


# -- tokens and users --------------------------------------------------------------------------------------------------


def test_a_token_of_a_configured_secret(capsys: pytest.CaptureFixture[str]) -> None:
    config = write(f"[auth]\nmode = 'jwt'\nsecret = '{SECRET}'\n")
    assert run("token", "create", "--user", "ada", "--name", "Ada L.", "--ttl", "2h", "--config", config) == 0
    token = capsys.readouterr().out.strip()
    found = JwtAuth(AuthConfig(mode="jwt", secret=SECRET)).authenticate(token)
    assert (found.user, found.name, found.guest) == ("ada", "Ada L.", False)
    assert found.expires_at == found.claims["iat"] + 7200


def test_a_token_of_the_secret_in_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("token", "create", "--user", "ada") == 1
    assert "syncline.db: there is no database here" in capsys.readouterr().err
    for command in (("user", "list"), ("restore",)):
        assert run(*command) == 1
        assert "syncline.db: there is no database here" in capsys.readouterr().err
    assert not list(Path.cwd().iterdir()), "nothing was made"
    assert not Path("syncline.db").exists(), "a token of a secret that nobody has is none"
    assert run("user", "add", "ada") == 0
    capsys.readouterr()
    assert run("token", "create", "--user", "ada") == 0
    assert run("token", "create", "--user", "bob") == 0
    first, second = capsys.readouterr().out.split()
    config = write("[store]\nbackend = 'memory'\n[broker]\nbackend = 'memory'\n")
    assert run("token", "create", "--user", "ada", "--config", config) == 1
    assert "set auth.secret" in capsys.readouterr().err
    assert first != second


def test_a_token_needs_a_signing_key_and_a_good_name(capsys: pytest.CaptureFixture[str]) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    Path("public.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
    config = write("[auth]\nmode = 'jwt'\nalgorithm = 'EdDSA'\npublic_key_file = 'public.pem'\n")
    assert run("token", "create", "--user", "ada", "-c", config) == 1
    assert "holds no key" in capsys.readouterr().err
    config = write(f"[auth]\nsecret = '{SECRET}'\n")
    assert run("token", "create", "--user", "a\nb", "-c", config) == 1
    assert capsys.readouterr().out == ""


def users(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run("user", "list", "--json") == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("user", "add", "ada", "--name", "Ada") == 0
    assert capsys.readouterr().out == "added ada\n"
    assert run("user", "add", "bob") == 0
    assert run("user", "list") == 0
    captured = capsys.readouterr()
    assert captured.out == "added bob\nada\tAda\tuser\nbob\t\tuser\n"
    assert captured.err == "2 users\n"
    [ada, _] = users(capsys)
    assert run("user", "add", "ada", "--name", "Ada Lovelace") == 0
    assert capsys.readouterr().out == "updated ada\n"
    assert users(capsys)[0] == {**ada, "name": "Ada Lovelace"}
    assert run("user", "add", "ada") == 0  # without a name it stays
    capsys.readouterr()
    assert users(capsys)[0]["name"] == "Ada Lovelace"


def test_many_users_are_listed_page_by_page(capsys: pytest.CaptureFixture[str]) -> None:
    from syncline.server.config.load import load
    from syncline.server.seams.store import Store, UserRecord

    async def fill(store: Store) -> None:
        for index in range(1203):
            await store.put_user(UserRecord(f"user-{index:04}"))

    cli._with_store(load(None, {}, {"store.synchronous": "normal"}), fill, making=True)
    assert [user["id"] for user in users(capsys)] == [f"user-{index:04}" for index in range(1203)]


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb"])
def test_bad_users_are_refused(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("user", "add", user) == 1
    assert "1 to 128" in capsys.readouterr().err


def test_a_store_that_cannot_be_opened(capsys: pytest.CaptureFixture[str]) -> None:
    Path("syncline.db").write_text("this is no database " * 100)
    assert run("user", "list") == 1
    assert "syncline.db" in capsys.readouterr().err
    assert run("user", "list", "-c", write("[store]\nbackend = 'memory'\n[broker]\nbackend = 'memory'\n")) == 1


# -- serving -----------------------------------------------------------------------------------------------------------


def test_a_log_that_nobody_reads_holds_nothing_up(servers: list[Server]) -> None:
    """Its pipe is full after 64 KiB."""
    servers.append(server := Server("--log-level", "debug", SYNCLINE_LOG__WAITING="100").wait_ready())
    port = int(server.url.rpartition(":")[2])
    dropped = 0
    while not dropped:
        for _ in range(50):
            with RawClient(port) as client:
                client.handshake()
        code, metrics = server.get("/metrics")
        assert code == 200
        (line,) = re.findall(r"^syncline_log_lines_dropped_total (\S+)$", metrics, re.MULTILINE)
        dropped = int(float(line))
    code, err = server.end()  # which reads it
    assert code == 0
    told = [json.loads(line)["message"] for line in err.splitlines()]
    assert any("lines of this log were dropped" in message for message in told)


def test_serve_until_sigterm(servers: list[Server], capsys: pytest.CaptureFixture[str]) -> None:
    servers.append(server := Server().wait_ready())
    assert server.get("/health") == (
        200,
        json.dumps({"status": "ok", "version": syncline.__version__}, separators=(",", ":")),
    )
    assert server.get("/ready")[0] == 200
    assert "syncline_build_info" in server.get("/metrics")[1]
    # Beside the running node:
    assert run("user", "add", "ada") == 0
    assert run("token", "create", "--user", "ada") == 0
    code, err = server.end()
    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    messages = [line["message"] for line in lines]
    assert any("guest" in message for message in messages)
    assert f"listening on {server.url}" in messages
    assert not [line for line in lines if line["level"] in ("error", "critical")]


def test_sigint_drains_too(servers: list[Server]) -> None:
    servers.append(server := Server().wait_ready())
    assert server.end(signal.SIGINT)[0] == 0


def test_options_win_over_the_environment(servers: list[Server]) -> None:
    servers.append(server := Server("--host", "127.0.0.2", "--log-level", "error", SYNCLINE_SERVER__HOST="127.0.0.3"))
    assert server.wait_ready().url.startswith("http://127.0.0.2:")
    assert server.end() == (0, "")


def test_a_wrong_configuration_is_2_with_every_error(servers: list[Server]) -> None:
    servers.append(server := Server(SYNCLINE_LOG__LEVEL="loud", SYNCLINE_AUTH__MODE="jwt"))
    out, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, out) == (2, "")
    assert "environment SYNCLINE_LOG__LEVEL" in err
    assert "auth.secret: is missing" in err
    assert "Traceback" not in err


def test_a_taken_port_is_1(servers: list[Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        servers.append(server := Server("--port", port))
        _, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 1
    assert f"127.0.0.1:{port}" in err
    assert "Traceback" not in err


def test_a_second_node_on_the_same_file_is_1(servers: list[Server]) -> None:
    servers.append(Server().wait_ready())
    servers.append(second := Server())
    _, err = second.process.communicate(timeout=60)
    assert second.process.returncode == 1
    assert "served by another process" in err
    assert "Traceback" not in err


def test_the_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(256, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
        descriptors.raise_limit(300, 10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 300 + 10 + OWN_DESCRIPTORS + ALWAYS)
        assert not caplog.text
        if hard != resource.RLIM_INFINITY:
            descriptors.raise_limit(hard, 10)
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
            assert "ulimit -n" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("files", [8, 12, 16, 24, 79])
def test_too_few_open_files_are_said_in_one_line(tmp_path: Path, files: int) -> None:
    """And not as a database that cannot be opened, as a traceback, or by nobody being let in."""
    command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", sys.executable, "-m", "syncline", "serve"]
    package = str(Path(syncline.__file__).parent.parent)
    result = subprocess.run(
        [*command, "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = (
        f"syncline: this process may open {files} files, and a node needs 80 beside its connections: raise `ulimit -n`"
    )
    assert (result.returncode, result.stdout, result.stderr.strip()) == (1, "", expected)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    package = str(Path(syncline.__file__).parent.parent)
    command = f"{sys.executable} -m syncline config-docs | head -1"
    environment = {**os.environ, "PYTHONPATH": package}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "# Configuration\n"
    assert done.stderr == ""


def test_what_a_command_does_not_know_is_told_with_its_own_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for command, usage in (
        (("serve", "--prot", "80"), "syncline serve"),
        (("user", "list", "all"), "syncline user list"),
    ):
        assert run(*command) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"usage: {usage} ")
        assert f"{usage}: error: unrecognized arguments: {' '.join(command[len(usage.split()) - 1 :])}" in told


def test_a_server_without_the_demo_has_no_page_to_open(servers: list[Server]) -> None:
    Path("server.toml").write_text("[server]\ndemo = false\n", "utf-8")
    servers.append(server := Server("--config", "server.toml"))
    server.wait_ready()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.communicate(timeout=60)[0] == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_on_every_address_says_where_to_open_it(servers: list[Server], host: str) -> None:
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    servers.append(server := Server("--host", host))
    server.wait_ready()
    assert host in server.url
    assert server.process.stdout is not None
    line = server.process.stdout.readline()
    assert re.fullmatch(r"open http://(127\.0\.0\.1|\[::1\]):\d+/\n", line)
    server.url = line.removeprefix("open ").strip()
    assert server.get("")[0] == 200
    server.process.send_signal(signal.SIGTERM)
    rest, _ = server.process.communicate(timeout=60)
    assert all(re.fullmatch(r"open http://[0-9a-f.:\[\]]+:\d+/", told) for told in rest.splitlines())


@pytest.mark.parametrize(
    ("variables", "url", "environment"),
    [
        ([], "http://127.0.0.1:8000/", ""),
        (["PORT=9001"], "http://127.0.0.1:9001/", "SYNCLINE_SERVER__PORT=9001 "),
        (["HOST=0.0.0.0"], "http://127.0.0.1:8000/", "SYNCLINE_SERVER__HOST=0.0.0.0 "),
        (["HOST=::", "PORT=9001"], "http://[::1]:9001/", "SYNCLINE_SERVER__HOST=:: SYNCLINE_SERVER__PORT=9001 "),
        (["HOST=10.1.2.3"], "http://10.1.2.3:8000/", "SYNCLINE_SERVER__HOST=10.1.2.3 "),
    ],
)
def test_make_run_takes_a_host_and_a_port(variables: list[str], url: str, environment: str) -> None:
    root = Path(__file__).resolve().parents[2]
    clean = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT", "CONFIG", "MAKEFLAGS")}
    done = subprocess.run(
        ["make", "-n", "run", *variables], cwd=root, env=clean, capture_output=True, text=True, check=True
    )
    said, command = [line for line in done.stdout.splitlines() if "syncline serve" in line]
    assert url in said
    assert " ".join(command.split()).startswith(f"{environment}exec .venv/bin/syncline serve")
