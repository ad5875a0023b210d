from __future__ import annotations

import pytest

from syncline.server.rooms.passwords import hash_password, verify_password

HASHED = hash_password("Pässwörd")


def test_it_is_argon2id_with_the_parameters_of_rfc_9106() -> None:
    assert HASHED.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_right_password_and_a_wrong_one() -> None:
    assert verify_password(HASHED, "Pässwörd")
    assert not verify_password(HASHED, "pässwörd")
    assert not verify_password(HASHED, "")


def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    assert verify_password(HASHED, "Pa\u0308sswo\u0308rd")


def test_each_hash_has_its_own_salt() -> None:
    assert hash_password("Pässwörd") != HASHED


def test_a_lone_surrogate_is_a_character_like_others() -> None:
    hashed = hash_password("\ud800")
    assert verify_password(hashed, "\ud800")
    assert not verify_password(hashed, "\ud801")


@pytest.mark.parametrize(
    "damaged", ["", "plain", pytest.param(HASHED[:40], id="cut off"), "$2b$12$abcdefghijklmnopqrstuv"]
)
def test_a_damaged_hash_is_not_a_wrong_password(damaged: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        verify_password(damaged, "Pässwörd")
