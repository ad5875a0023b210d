"""The configuration: defaults, three sources, and every kind of error, all reported at once."""

from __future__ import annotations

import typing
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from syncline.server.config import docs as config_docs
from syncline.server.config.keys import KEYS
from syncline.server.config.load import ConfigError, load
from syncline.server.config.schema import Config

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "s" * 32


def problems(text: str, tmp_path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with a file, without its folder."""
    file = tmp_path / "syncline.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(str(file), environ or {})
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


# -- what is right -----------------------------------------------------------------------------------------------------


def test_nothing_configured_is_the_default() -> None:
    assert load(None, {}) == Config()


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "syncline.toml"
    file.write_text('[server]\nport = 1\nhost = "10.0.0.1"\nbacklog = 7\n[log]\nlevel = "debug"\n')
    environ = {"SYNCLINE_SERVER__PORT": "2", "SYNCLINE_SERVER__HOST": "10.0.0.2", "PATH": "x", "SYNCLINE_DATA": "y"}
    config = load(str(file), environ, {"server.port": 3})
    assert (config.server.port, config.server.host, config.server.backlog) == (3, "10.0.0.2", 7)
    assert config.log.level == "debug"
    assert config.limits == Config().limits


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("server.port", " 8_080 ", 8080),
        ("server.drain_seconds", "1.5", 1.5),
        ("server.drain_seconds", "2", 2.0),
        ("server.demo", "No", False),
        ("server.demo", "on", True),
        ("server.demo", "1", True),
        (
            "server.allowed_origins",
            "https://a.example, https://b.example:8443",
            ["https://a.example", "https://b.example:8443"],
        ),
        ("server.allowed_origins", '["*"]', ["*"]),
        ("server.allowed_origins", "", []),
        ("auth.issuer", " kept as it is ", " kept as it is "),
        ("log.format", "json", "json"),
    ],
)
def test_the_environment_is_typed_by_its_key(key: str, text: str, value: object) -> None:
    section, name = key.split(".")
    found = getattr(getattr(load(None, {KEYS[key].variable: text}), section), name)
    assert found == value
    assert type(found) is type(value)


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "syncline.toml"
    file.write_text("[limits]\nping_seconds = 30\n")
    assert isinstance(load(str(file), {}).limits.ping_seconds, float)


def test_bounds_are_inclusive() -> None:
    for key in KEYS.values():
        for bound in (key.low, key.high):
            if bound is not None:
                try:
                    load(None, {key.variable: repr(bound)})
                except ConfigError as error:  # the bound of one may not go with the defaults of others
                    text = str(error)
                else:
                    text = ""
                assert "allowed is" not in text


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    text = '[server]\nprot = 1\nport = 70000\n\n[auth]\nmode = "jwt"\n\n[limts]\nrooms = 1\n'
    found = problems(text, tmp_path, {"SYNCLINE_LOG__LEVEL": "loud", "SYNCLINE_LOG__LEVLE": "info"})
    assert found == [
        "syncline.toml:2: server.prot: no such key; did you mean server.port?",
        "syncline.toml:3: server.port: found 70000 (an integer), allowed is an integer from 0 to 65,535; "
        "0: the system chooses one",
        "syncline.toml:8: limts: no such section; did you mean [limits]?",
        'environment SYNCLINE_LOG__LEVEL: log.level: found "loud" (a string), allowed is one of "debug", "info", '
        '"warning", "error"',
        "environment SYNCLINE_LOG__LEVLE: no such key; did you mean SYNCLINE_LOG__LEVEL?",
        'syncline.toml:6: auth.secret: is missing: auth.mode is "jwt"; at least 32 bytes are needed '
        "(`openssl rand -base64 48` makes one)",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[server]\nport = "80"', 'server.port: found "80" (a string), allowed is an integer'),
        ("[server]\nport = 80.0", "server.port: found 80.0 (a number), allowed is an integer"),
        ("[server]\nport = true", "server.port: found true (a boolean), allowed is an integer"),
        ("[server]\nport = -1", "server.port: found -1"),
        ("[server]\ndemo = 1", "server.demo: found 1 (an integer), allowed is true or false"),
        ("[server]\nhost = 1", "server.host: found 1 (an integer), allowed is a string"),
        (
            "[server]\nallowed_origins = 'x'",
            'server.allowed_origins: found "x" (a string), allowed is a list of strings',
        ),
        ("[server]\nallowed_origins = ['*', 1]", 'server.allowed_origins: found ["*", 1] (a list)'),
        ("[server]\ndrain_seconds = nan", "server.drain_seconds: found NaN"),
        ("[server]\ndrain_seconds = inf", "server.drain_seconds: found Infinity"),
        ("[server]\ndrain_seconds = 2024-01-01", "server.drain_seconds: found"),
        ("[server]\nhost = {a = 1}", "server.host: found"),
        (
            "[limits]\nping_seconds = 0.5",
            "limits.ping_seconds: found 0.5 (a number), allowed is a number from 1 to 3,600 (s)",
        ),
        ("[auth]\nmode = 'gest'", 'did you mean "guest"?'),
        ("server = 3", "server: found 3 (an integer), allowed is a section, [server]"),
        ("port = 3", "port: no such key; did you mean server.port?"),
        ("frobnicate = 3", "frobnicate: no such key; sections: server, auth"),
        ("[frobnicate]", "frobnicate: no such section; sections: server, auth"),
        ("[rooms]\nping_seconds = 3", "rooms.ping_seconds: no such key; did you mean limits.ping_seconds?"),
        ("[server]\n[server]\n", "not TOML"),
        ("port = = 3", "not TOML: Invalid value (at line 1, column 8)"),
        ("[server]\npath = 'ws'", 'server.path: found "ws"'),
        ("[server]\npath = '/metrics'", "server.path: found"),
        ("[server]\npath = '/{x}'", "server.path: found"),
        ("[server]\nhost = ' '", "server.host: is empty"),
        ("[server]\nallowed_origins = ['https://a.example/']", "no slash at the end"),
        ("[server]\nallowed_origins = ['a.example']", "server.allowed_origins: found"),
        ("[limits]\nqueue_bytes = 65_536", "limits.queue_bytes: is 65536, below limits.message_bytes (1048576)"),
        ("[limits]\nqueue_low_bytes = 2_000_000", "limits.queue_low_bytes: is 2000000, above limits.queue_high_bytes"),
        (
            "[limits]\nqueue_bytes = 1_048_576\nqueue_high_bytes = 1_048_577",
            "limits.queue_high_bytes: is 1048577, above limits.queue_b",
        ),
        (
            "[presence]\nlist_limit = 10\nsample_users = 11",
            "presence.sample_users: is 11, above presence.list_limit (10)",
        ),
        (
            "[documents]\ncheckpoint_bytes = 131_071",
            "documents.checkpoint_bytes: is 131071, below documents.block_bytes",
        ),
        (
            "[store]\nbackend = 'memory'\n[broker]\nbackend = 'sqlite'",
            'broker.backend: is "sqlite": rooms would outlast',
        ),
        ("[rooms]\nlatest = ['a*b']", 'rooms.latest: found "a*b", allowed is the name of a room'),
        ("[rooms]\nlatest = ['a*']\nvolatile = ['b', 'a*']", 'rooms.volatile: both have "a*"'),
        ("[presence]\ngrace_seconds = 90", "presence.grace_seconds: is 90 s, above presence.ttl_seconds (60 s)"),
        ("[store]\npath = ''", "store.path: is empty"),
        ("[store]\npath = 'no/such/folder/x.db'", 'store.path: the folder of "no/such/folder/x.db" does not exist'),
        ("[store]\npath = '.'", "is a folder"),
        (f"[store]\npath = '{'n' * 300}/x.db'", '/x.db": File name too long'),  # as a folder that one may not enter
    ],
)
def test_one_error_says_where_what_and_what_is_allowed(text: str, says: str, tmp_path: Path) -> None:
    [found] = problems(text, tmp_path)
    assert found.startswith("syncline.toml:")
    assert says in found


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("limits.queue_bytes", "limits.message_bytes"),
        ("limits.queue_high_bytes", "limits.queue_bytes"),
        ("limits.queue_low_bytes", "limits.queue_high_bytes"),
        ("presence.sample_users", "presence.list_limit"),
        ("presence.grace_seconds", "presence.ttl_seconds"),
        ("documents.checkpoint_bytes", "documents.block_bytes"),
        ("broker.backend", "store.backend"),
        ("rooms.volatile", "rooms.latest"),
        ("auth.secret", "jwt"),
        ("auth.public_key_file", "auth.private_key_file"),
        ("auth.private_key_file", "guests"),
    ],
)
def test_what_must_fit_another_setting_says_so(path: str, other: str) -> None:
    key = KEYS[path]
    assert other.removeprefix(key.section + ".") in key.doc


@pytest.mark.parametrize("key", ["limits.message_bytes", "server.drain_seconds"])
def test_an_integer_of_thousands_of_digits_is_a_wrong_value(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    for digits in (400, 5000):
        path = tmp_path / "long.toml"
        path.write_text(f"[{section}]\n{name} = {'1' * digits}\n")
        with pytest.raises(ConfigError) as raised:
            load(str(path), {})
        assert len(str(raised.value)) < 500 and ("limit" in str(raised.value) or key in str(raised.value))
        with pytest.raises(ConfigError) as raised:
            load(None, {f"SYNCLINE_{section}__{name}".upper(): "1" * digits})
        assert len(str(raised.value)) < 500 and key in str(raised.value)


def test_of_very_many_errors_some_are_told(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    path.write_text("[server]\n" + "".join(f"hots{number} = 1\n" for number in range(20_000)) + f"{'x' * 500_000} = 2")
    with pytest.raises(ConfigError) as raised:
        load(str(path), {})
    lines = str(raised.value).splitlines()
    assert lines[0] == "the configuration has 20001 errors:" and len(lines) == 102
    assert (
        lines[1].endswith("many.toml:2: server.hots0: no such key; did you mean server.host?")
        and lines[-1] == "  and 19901 more"
    )


def test_a_long_line_is_found_as_fast_as_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(f'[server]\nhost = """\n{" " * 400_000}"""\nport = 1{" " * 400_000}\nbacklog = "x"\n')
    with pytest.raises(ConfigError, match=r"long.toml:5: server.backlog"):
        load(str(path), {})


def test_a_wrong_value_is_not_reported_twice(tmp_path: Path) -> None:
    """What depends on a refused value is not judged: the default that stands in for it is not what was written."""
    assert len(problems("[presence]\ngrace_seconds = 90\nttl_seconds = 1\n", tmp_path)) == 1


def test_lines_are_found_in_every_notation(tmp_path: Path) -> None:
    text = '# server\n[ "server" ]\n"port"   = "x"\n[log]\nlevel="x"\n'
    assert [problem.split(" ")[0] for problem in problems(text, tmp_path)] == ["syncline.toml:3:", "syncline.toml:5:"]
    assert problems("server.port = 'x'", tmp_path)[0].startswith("syncline.toml:1:")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        load(str(tmp_path / "missing.toml"), {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(str(tmp_path), {})
    (tmp_path / "latin.toml").write_bytes(b"[server]\nhost = '\xe9'")
    with pytest.raises(ConfigError, match=r"not UTF-8 \(byte 17\)"):
        load(str(tmp_path / "latin.toml"), {})


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("SYNCLINE_SERVER__PORT", "eighty", 'found "eighty" (a string), allowed is an integer'),
        ("SYNCLINE_SERVER__PORT", "", "server.port: found"),
        ("SYNCLINE_SERVER__PORT", "0x50", "server.port: found"),
        ("SYNCLINE_SERVER__DEMO", "maybe", "allowed is true or false"),
        ("SYNCLINE_SERVER__DRAIN_SECONDS", "nan", "found NaN"),
        ("SYNCLINE_SERVER__ALLOWED_ORIGINS", "[1", "allowed is a list of strings"),
        ("SYNCLINE_SERVER_PORT", "80", "no such key; did you mean SYNCLINE_SERVER__PORT?"),
        ("SYNCLINE_SERVER__PROT", "80", "no such key; did you mean SYNCLINE_SERVER__PORT?"),
        ("SYNCLINE_A__B", "80", "no such key"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: text})
    [found] = caught.value.problems
    assert found.startswith(f"environment {variable}: ")
    assert says in found


def test_wrong_overrides_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {"server.port": -1, "server.hots": "x"})
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["command line", "server.port"],
        ["command line", "server.hots"],
    ]


# -- authentication ----------------------------------------------------------------------------------------------------


def pem(key: typing.Any) -> bytes:
    if hasattr(key, "private_bytes"):
        form = serialization.PrivateFormat.PKCS8
        return bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of key files, good and bad."""
    folder = tmp_path_factory.mktemp("keys")
    ed, other, elliptic = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate(), ec.SECP256R1()
    made: dict[str, typing.Any] = {"ed": ed, "other": other, "rsa": rsa.generate_private_key(65537, 2048)}
    for name, key in made.items():
        (folder / f"{name}.pem").write_bytes(pem(key))
        (folder / f"{name}.pub.pem").write_bytes(pem(key.public_key()))
    (folder / "small.pem").write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    (folder / "ec.pub.pem").write_bytes(pem(ec.generate_private_key(elliptic).public_key()))
    (folder / "text.pem").write_text("hello")
    (folder / "big.pem").write_text("x" * 100_000)
    encryption = serialization.BestAvailableEncryption(b"x")
    form = serialization.PrivateFormat.PKCS8
    (folder / "locked.pem").write_bytes(ed.private_bytes(serialization.Encoding.PEM, form, encryption))
    return folder


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mode": "jwt"}, "auth.secret: is missing"),
        ({"mode": "jwt", "secret": "s" * 31}, "auth.secret: has 31 bytes"),
        ({"mode": "guest", "secret": "short"}, "auth.secret: has 5 bytes"),
        ({"mode": "jwt", "algorithm": "RS256"}, "auth.public_key_file: is missing"),
        ({"mode": "jwt", "algorithm": "RS256", "secret": SECRET}, "auth.public_key_file: is missing"),
        ({"mode": "guest", "algorithm": "RS256"}, "auth.private_key_file: is missing"),
        ({"mode": "guest", "algorithm": "EdDSA", "public_key_file": "ed.pub.pem"}, "auth.private_key_file: is missing"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "none.pem"}, "none.pem: No such file"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "text.pem"}, "text.pem: not a PEM public key"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "big.pem"}, "big.pem: over 65536 bytes"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "ed.pem"}, "ed.pem: holds a private key"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "rsa.pub.pem"}, "not a key for EdDSA"),
        ({"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "ec.pub.pem"}, "not a key for EdDSA"),
        ({"mode": "jwt", "algorithm": "RS256", "public_key_file": "ed.pub.pem"}, "not a key for RS256"),
        ({"mode": "jwt", "algorithm": "RS256", "private_key_file": "small.pem"}, "small.pem: an RSA key of 1024 bits"),
        ({"mode": "jwt", "algorithm": "EdDSA", "private_key_file": "ed.pub.pem"}, "ed.pub.pem: not a PEM private key"),
        ({"mode": "jwt", "algorithm": "EdDSA", "private_key_file": "locked.pem"}, "locked.pem: the key is encrypted"),
        (
            {"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "other.pub.pem", "private_key_file": "ed.pem"},
            "ed.pem is not the private key of other.pub.pem",
        ),
    ],
)
def test_authentication_that_cannot_work_is_refused(
    settings: dict[str, str], says: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(keys)
    with pytest.raises(ConfigError) as caught:
        load(None, {f"SYNCLINE_AUTH__{key.upper()}": value for key, value in settings.items()})
    [found] = caught.value.problems
    assert found.startswith("environment SYNCLINE_AUTH__")
    assert says in found


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "guest"},
        {"mode": "guest", "secret": SECRET},
        {"mode": "jwt", "secret": "ü" * 16},  # bytes count, not characters
        {"mode": "guest", "algorithm": "EdDSA", "private_key_file": "ed.pem"},
        {"mode": "jwt", "algorithm": "EdDSA", "public_key_file": "ed.pub.pem"},
        {"mode": "jwt", "algorithm": "RS256", "public_key_file": "rsa.pub.pem", "private_key_file": "rsa.pem"},
    ],
)
def test_authentication_that_works(settings: dict[str, str], keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(keys)
    load(None, {f"SYNCLINE_AUTH__{key.upper()}": value for key, value in settings.items()})


def test_both_bad_key_files_are_named(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(keys)
    overrides = {"auth.algorithm": "EdDSA", "auth.public_key_file": "text.pem", "auth.private_key_file": "none.pem"}
    with pytest.raises(ConfigError) as caught:
        load(None, {}, overrides)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "auth.public_key_file",
        "auth.private_key_file",
    ]


def test_secrets_are_never_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"SYNCLINE_AUTH__SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    for problem in problems('[auth]\nsecret = ["hunter2"]', tmp_path):
        assert "hunter2" not in problem
    config = load(None, {"SYNCLINE_AUTH__SECRET": "hunter2" * 10})
    assert "hunter2" not in config_docs.toml(config)
    assert "hunter2" not in repr(config)


# -- the tree ----------------------------------------------------------------------------------------------------------


def test_every_setting_is_complete() -> None:
    """Its default is allowed, it is explained, and numbers have bounds."""
    for key in KEYS.values():
        assert key.type in ("str", "int", "float", "bool", "list[str]"), key.path
        assert len(key.doc) > 5, key.path
        assert (key.type in ("int", "float")) == (key.low is not None and key.high is not None), key.path
        if key.low is not None and key.high is not None:
            assert key.low <= key.default <= key.high, key.path
            assert not key.zero or key.low == 0, key.path
        if key.choices:
            assert key.default in key.choices, key.path
        text = ",".join(key.default) if key.type == "list[str]" else str(key.default)
        assert load(None, {key.variable: text}) == Config(), key.path


def test_the_tree_is_frozen() -> None:
    config = Config()
    for section in fields(config):
        with pytest.raises(AttributeError):
            setattr(getattr(config, section.name), fields(getattr(config, section.name))[0].name, None)


# -- what is written from it -------------------------------------------------------------------------------------------


def test_the_documentation_is_that_of_this_tree() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == config_docs.markdown()


def test_the_example_is_that_of_this_tree() -> None:
    assert (ROOT / "syncline.example.toml").read_text("utf-8") == config_docs.toml()


def test_the_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    lines = []
    for line in config_docs.toml().splitlines():
        lines.append(line[1:] if line.startswith("#") and not line.startswith("# ") else line)
    file = tmp_path / "syncline.toml"
    file.write_text("\n".join(lines))
    assert load(str(file), {}) == Config()
    assert sum(" = " in line and not line.startswith("#") for line in lines) == len(KEYS)


def test_what_is_printed_loads_again(tmp_path: Path) -> None:
    overrides = {
        "server.port": 12_345,
        "server.allowed_origins": ["https://a.example"],
        "auth.issuer": 'a "b"\n\\ é\x7f',
    }
    config = load(None, {}, {**overrides, "limits.ping_seconds": 1.5, "server.demo": False})
    file = tmp_path / "syncline.toml"
    file.write_text(config_docs.toml(config))
    assert load(str(file), {}) == config
