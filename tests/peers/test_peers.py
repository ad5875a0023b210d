"""The pipe to the other implementations."""

from __future__ import annotations

import pytest

from . import PeerError, Peers


def test_each_package_answers(peers: Peers) -> None:
    assert peers.batch(
        [
            ("quill.compose", [{"insert": "a"}], [{"retain": 1}, {"insert": "💃"}]),
            ("quill.push", [{"delete": 1}, {"insert": "a"}, {"retain": 3}]),
            ("quill.transformPosition", [{"insert": "ab"}], 1, False),
            ("quill.attributes.compose", {"bold": True}, {"bold": None}, False),
            ("json0.apply", {"a": [1]}, [{"p": ["a", 0], "na": 2}]),
            ("text.compose", [1, "a"], [2, "b"]),
        ]
    ) == [[{"insert": "a💃"}], [{"insert": "a"}, {"delete": 1}], 3, None, {"a": [3]}, [1, "ab"]]


def test_an_exception_is_told_and_the_rest_is_answered(peers: Peers) -> None:
    answers = peers.answers([("quill.diff", [{"retain": 1}], []), ("text.compose", ["a"], [1, "b"])])
    assert "error" in answers[0] and answers[1] == {"ok": ["ab"]}
    with pytest.raises(PeerError):
        peers.call("quill.nothing")
