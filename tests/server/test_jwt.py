"""Tokens: what is accepted, what is refused and with which words, and that nothing else ever comes out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.server.backends.jwt import MAX_NAME, MAX_TOKEN, JwtAuth
from syncline.server.config.schema import AuthConfig

SECRET = "correct horse battery staple, and more"
JWT = AuthConfig(mode="jwt", secret=SECRET)
GUEST = AuthConfig(mode="guest", secret=SECRET)
#: Any token that is fine for ``JWT``.
CLAIMS = {"sub": "ada", "name": "Ada", "exp": 4_000_000_000}


def signed(claims: Any, secret: str | bytes = SECRET, header: dict[str, Any] | None = None) -> str:
    """A compact HS256 token made by hand, so that it can say what PyJWT would not."""
    key = secret.encode() if isinstance(secret, str) else secret
    body = claims if isinstance(claims, str) else json.dumps(claims)
    head = json.dumps({"typ": "JWT", "alg": "HS256"} if header is None else header)
    parts = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (head, body)]
    signature = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def refusal(token: str, config: AuthConfig = JWT) -> SynclineError:
    with pytest.raises(SynclineError) as caught:
        JwtAuth(config).authenticate(token)
    assert SECRET not in str(caught.value)
    return caught.value


# -- accepted ----------------------------------------------------------------------------------------------------------


def test_credentials() -> None:
    found = JwtAuth(JWT).authenticate(signed(CLAIMS))
    assert (found.user, found.name, found.expires_at, found.guest) == ("ada", "Ada", 4e9, False)
    assert found.claims["sub"] == "ada"


def test_a_name_is_optional_and_cut() -> None:
    auth = JwtAuth(JWT)
    assert auth.authenticate(signed({"sub": "ada", "exp": 4e9})).name == ""
    assert auth.authenticate(signed({**CLAIMS, "name": None})).name == ""
    assert auth.authenticate(signed({**CLAIMS, "name": "é" * 500})).name == "é" * MAX_NAME


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "EdDSA"])
def test_what_is_issued_is_accepted(algorithm: str, keys: Path) -> None:
    config = replace(JWT, algorithm=algorithm, issuer="https://issuer", audience="syncline")
    if algorithm != "HS256":
        private = str(keys / f"{algorithm}.pem")
        config = replace(config, secret="", private_key_file=private)
    auth = JwtAuth(config)
    before = time.time()
    found = auth.authenticate(auth.issue("ada", "Ada", ttl=60))
    assert (found.user, found.name, found.guest) == ("ada", "Ada", False)
    assert found.expires_at is not None
    assert before + 58 <= found.expires_at <= time.time() + 60
    assert jwt.get_unverified_header(auth.issue("ada", ""))["alg"] == algorithm


def test_a_public_key_is_enough_to_check(keys: Path) -> None:
    config = replace(JWT, algorithm="EdDSA", secret="", public_key_file=str(keys / "EdDSA.pub.pem"))
    signer = JwtAuth(replace(config, public_key_file="", private_key_file=str(keys / "EdDSA.pem")))
    auth = JwtAuth(config)
    assert auth.authenticate(signer.issue("ada", "")).user == "ada"
    with pytest.raises(SynclineError) as caught:
        auth.issue("ada", "")
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_guests() -> None:
    auth = JwtAuth(GUEST)
    assert auth.guests
    assert auth.authenticate(auth.issue("guest-1", "Guest", ttl=60, guest=True)).guest
    assert not auth.authenticate(auth.issue("ada", "Ada", ttl=60)).guest


def test_guests_are_not_let_in_after_the_switch_to_tokens() -> None:
    token = JwtAuth(GUEST).issue("guest-1", "Guest", ttl=60, guest=True)
    assert not JwtAuth(JWT).guests
    assert refusal(token).code is ErrorCode.TOKEN_INVALID


def test_the_secret_may_come_from_the_store() -> None:
    config = AuthConfig(mode="guest")
    auth = JwtAuth(config, secret="from the store, long enough for HS256")
    assert auth.authenticate(auth.issue("ada", "")).user == "ada"
    for secret in ("", "too short"):
        with pytest.raises(ValueError, match="at least 32 bytes"):
            JwtAuth(config, secret=secret)


# -- expiry ------------------------------------------------------------------------------------------------------------


def test_expired() -> None:
    error = refusal(signed({**CLAIMS, "exp": int(time.time()) - 60}))
    assert (error.code, error.message) == (ErrorCode.TOKEN_EXPIRED, "the token has expired")


def test_leeway() -> None:
    token = signed({**CLAIMS, "exp": int(time.time()) - 60})
    assert JwtAuth(replace(JWT, leeway_seconds=120)).authenticate(token).user == "ada"


def test_expiry_is_required_unless_configured_otherwise() -> None:
    token = signed({"sub": "ada"})
    assert refusal(token).message == "a required claim is missing"
    auth = JwtAuth(replace(JWT, require_expiry=False))
    assert auth.authenticate(token).expires_at is None
    assert auth.authenticate(auth.issue("ada", "")).expires_at is None
    # Where it is required, a token without a stated life gets one: ``issue`` makes what ``authenticate`` accepts.
    required = JwtAuth(JWT)
    assert required.authenticate(required.issue("ada", "")).expires_at is not None


def test_an_expiry_is_checked_also_where_it_is_not_required() -> None:
    token = signed({"sub": "ada", "exp": int(time.time()) - 60})
    assert refusal(token, replace(JWT, require_expiry=False)).code is ErrorCode.TOKEN_EXPIRED


def test_not_valid_yet() -> None:
    assert refusal(signed({**CLAIMS, "nbf": int(time.time()) + 600})).message == "the token is not valid yet"


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    pairs: dict[str, Any] = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    for algorithm, key in pairs.items():
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / f"{algorithm}.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, public)
        (folder / f"{algorithm}.pub.pem").write_bytes(pem)
    return folder


def test_another_secret() -> None:
    assert refusal(signed(CLAIMS, "x" * 32)).message == "the signature is not valid"


def test_a_changed_body() -> None:
    head, _, signature = signed(CLAIMS).split(".")
    body = signed({**CLAIMS, "sub": "root"}).split(".")[1]
    assert refusal(f"{head}.{body}.{signature}").code is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "hs256", None, 1, ["HS256"]]
)
def test_no_other_algorithm_is_accepted(name: Any) -> None:
    header = {"typ": "JWT", "alg": name}
    token = signed(CLAIMS, header=header)
    assert refusal(token).code is ErrorCode.TOKEN_INVALID
    assert refusal(token.rpartition(".")[0] + ".").code is ErrorCode.TOKEN_INVALID  # without a signature
    assert refusal(token.rpartition(".")[0]).code is ErrorCode.TOKEN_INVALID


def test_a_header_without_an_algorithm() -> None:
    assert refusal(signed(CLAIMS, header={})).code is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_a_public_key_is_no_secret(algorithm: str, keys: Path) -> None:
    """The classic confusion: an HS256 token signed with the published key, for a server that checks with it."""
    file = keys / f"{algorithm}.pub.pem"
    config = replace(JWT, algorithm=algorithm, secret="", public_key_file=str(file))
    for secret in (file.read_bytes(), file.read_bytes().strip()):
        assert refusal(signed(CLAIMS, secret), config).message == "the token is signed by another algorithm"
        lying = signed(CLAIMS, secret, {"typ": "JWT", "alg": algorithm})
        assert refusal(lying, config).code is ErrorCode.TOKEN_INVALID


def test_a_key_in_the_header_is_not_used(keys: Path) -> None:
    """RFC 8725 section 3.10: `jwk`, `jku` and `x5c` of a stranger's token say nothing."""
    other = ed25519.Ed25519PrivateKey.generate()
    raw = other.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    public = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    headers = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": public}, "jku": "http://127.0.0.1:1/keys"}
    token = jwt.encode(CLAIMS, other, algorithm="EdDSA", headers=headers)
    config = replace(JWT, algorithm="EdDSA", secret="", public_key_file=str(keys / "EdDSA.pub.pem"))
    assert refusal(token, config).message == "the signature is not valid"


def test_an_unknown_critical_header() -> None:
    header = {"typ": "JWT", "alg": "HS256", "crit": ["x-unknown"], "x-unknown": 1}
    assert refusal(signed(CLAIMS, header=header)).code is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "subject",
    ["", "x" * 129, "a\nb", "a\n", "a\x00b", "a\x7fb", "a\x85b", "\ud800", None, 1, 1.5, True, ["ada"], {"ada": 1}],
)
def test_a_bad_subject(subject: object) -> None:
    assert refusal(signed({**CLAIMS, "sub": subject})).code is ErrorCode.TOKEN_INVALID


def test_no_subject() -> None:
    assert refusal(signed({"exp": 4e9})).message == "a required claim is missing"


@pytest.mark.parametrize("subject", ["a", "x" * 128, "😀" * 128, "ada@example.org", "a b", "Ünïcode"])
def test_a_good_subject(subject: str) -> None:
    assert JwtAuth(JWT).authenticate(signed({**CLAIMS, "sub": subject})).user == subject


@pytest.mark.parametrize("name", [1, ["x"], {}, True, "a\nb", "a\n", "a\x1bb", "\udfff\n"])
def test_a_bad_name(name: object) -> None:
    assert refusal(signed({**CLAIMS, "name": name})).message.startswith("the name claim")


def test_a_name_that_was_cut_within_a_character() -> None:
    assert JwtAuth(JWT).authenticate(signed({**CLAIMS, "name": "Ada \ud83d"})).name == "Ada \ufffd"
    assert JwtAuth(JWT).authenticate(signed({**CLAIMS, "name": "Ada \ud83d\ude00"})).name == "Ada 😀"


@pytest.mark.parametrize(
    ("setting", "claim", "message"),
    [
        ("issuer", "iss", "the token is of another issuer"),
        ("audience", "aud", "the token is for another audience"),
    ],
)
def test_issuer_and_audience(setting: str, claim: str, message: str) -> None:
    config = replace(JWT, **{setting: "expected"})  # type: ignore[arg-type]  # both are strings
    assert JwtAuth(config).authenticate(signed({**CLAIMS, claim: "expected"})).user == "ada"
    assert refusal(signed({**CLAIMS, claim: "other"}), config).message == message
    assert "expected" not in refusal(signed({**CLAIMS, claim: "other"}), config).message
    assert refusal(signed(CLAIMS), config).message == "a required claim is missing"
    # Not configured: not looked at.
    assert JwtAuth(JWT).authenticate(signed({**CLAIMS, claim: "anything"})).user == "ada"
    if claim == "aud":
        assert JwtAuth(config).authenticate(signed({**CLAIMS, "aud": ["other", "expected"]})).user == "ada"


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "...", "a.b", "a.b.c.d.e", "\x00", "\ud800", "é.é.é", "e30.e30.", "e30.e30.e30", "Bearer x"),
        "x" * (MAX_TOKEN + 1),
        signed("not json"),
        signed("[]"),
        signed("null"),
        signed("1" * 5000),
        signed("[" * 8000),
        signed({"sub": "ada", "exp": "soon"}),
        signed('{"sub": "ada", "exp": 1e999}'),
        signed('{"sub": "ada", "exp": -1e999}'),
        signed('{"sub": "ada", "exp": NaN}'),
        signed({"sub": "ada", "exp": 10**400}),
        signed({"sub": "ada", "exp": -(10**400)}),
        signed({"sub": "ada", "exp": [1]}),
        signed({"sub": "ada", "exp": None}),
        signed({"sub": "ada", "exp": 4e9, "nbf": "x"}),
        signed({"sub": "ada", "exp": 4e9, "iat": {}}),
        signed(CLAIMS) + "=",
        signed(CLAIMS) + ".",
        " " + signed(CLAIMS),
    ],
)
def test_nonsense(token: str) -> None:
    assert refusal(token).code in (ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED)


def test_a_deeply_nested_header() -> None:
    """It is parsed before the signature is checked, so anybody can send it."""
    deep = base64.urlsafe_b64encode(b"[" * 10_000).rstrip(b"=").decode()
    assert refusal(f"{deep}.e30.e30").code is ErrorCode.TOKEN_INVALID


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CLAIM_NAMES = st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "name", "guest", "jti"])


AUTHS = [JwtAuth(config) for config in (JWT, GUEST, replace(JWT, require_expiry=False, issuer="a", audience="b"))]


@pytest.mark.fuzz
@given(
    st.one_of(
        st.text(), st.dictionaries(CLAIM_NAMES, JSON).map(signed), st.binary().map(lambda raw: raw.decode("latin-1"))
    )
)
def test_whatever_comes_only_token_errors_come_out(token: str) -> None:
    for auth in AUTHS:
        try:
            found = auth.authenticate(token)
        except SynclineError as error:
            code = error.code
        else:
            code = ErrorCode.TOKEN_INVALID
            assert 1 <= len(found.user) <= 128
            assert len(found.name) <= MAX_NAME
        assert code in (ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED)


# -- issuing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "name"), [("", ""), ("x" * 129, ""), ("a\n", ""), ("a", "x" * 129), ("a", "\x00")])
def test_what_would_be_refused_is_not_issued(user: str, name: str) -> None:
    with pytest.raises(SynclineError) as caught:
        JwtAuth(JWT).issue(user, name)
    assert caught.value.code is ErrorCode.INVALID_DATA
