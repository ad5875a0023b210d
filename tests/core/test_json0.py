"""JSON operations: the laws on random documents, the same answers as npm ot-json0, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.json import json0
from syncline.core.json.json_type import JsonType
from syncline.core.values.json_values import MAX_DEPTH, check_number, check_value, same_value, size
from syncline.core.values.text0 import Side
from tests.core.json_shapes import DOCUMENT, SHAPES, UNFIT
from tests.oracle import json0 as slow
from tests.oracle import json_values as slow_values
from tests.oracle import text0
from tests.oracle.json0 import length, random_operation, random_value
from tests.peers import Peers

randoms = st.integers(0, 2**32).map(Random)


def same(one: Any, two: Any) -> bool:
    return same_value(one, two)


def with_lies(random: Random, operation: json0.Op) -> json0.Op:
    """The same operation, which says of everything that it removes that it was something else."""
    return json0.parse(
        [
            {name: random_value(random) if name in ("od", "ld") else value for name, value in component.items()}
            for component in operation.components
        ]
    )


# ------------------------------------------------------------------------------------------------------------- the laws


@given(randoms)
def test_apply_does_what_is_done_by_hand(random: Random) -> None:
    content = random_value(random)
    before = copy.deepcopy(content)
    operation, after = random_operation(random, content, 6)
    parsed = json0.parse(operation)
    assert same(json0.apply(content, parsed), after)
    assert same(content, before)
    assert json0.parse(parsed) is parsed and json0.parse(parsed.components) == parsed
    assert JsonType().decode(parsed.encode()) == parsed and pickle.loads(pickle.dumps(parsed)) == parsed


@given(randoms)
def test_transform_converges(random: Random) -> None:
    """TP1, both ways round; and what is removed is told truly, so that it can be inverted."""
    content = random_value(random)
    (a, after_a), (b, after_b) = (random_operation(random, content, 4) for _ in range(2))
    a, b = json0.parse(a), json0.parse(b)
    for side, other in (("left", "right"), ("right", "left")):
        moved_a, moved_b = json0.transform(a, b, side), json0.transform(b, a, other)  # type: ignore[arg-type]
        one, told_a = json0.resolve(after_b, moved_a)
        two, told_b = json0.resolve(after_a, moved_b)
        assert same(one, two)
        assert told_a == moved_a and told_b == moved_b


@given(randoms)
def test_a_chain_of_concurrent_operations_converges(random: Random) -> None:
    """A client with two operations under way meets three of the server's."""
    content = random_value(random)
    client = server = content
    own: list[Any] = []
    for _ in range(2):
        operation, client = random_operation(random, client, 2)
        own.append(json0.parse(operation))
    for _ in range(3):
        operation, server = random_operation(random, server, 2)
        arrived = json0.parse(operation)
        passed = []
        for mine in own:
            passed.append(json0.transform(mine, arrived, "left"))
            arrived = json0.transform(arrived, mine, "right")
        own = passed
        client = json0.apply(client, arrived)
    for mine in own:
        server = json0.apply(server, mine)
    assert same(client, server)


@given(randoms)
def test_invert_and_compose(random: Random) -> None:
    content = random_value(random)
    first, middle = random_operation(random, content, 4)
    second, after = random_operation(random, middle, 4)
    a, b = json0.parse(first), json0.parse(second)
    both = json0.compose(a, b)
    assert same(json0.apply(content, both), after)
    nothing = json0.parse([])
    assert json0.compose(a, nothing) == a and json0.transform(a, nothing, "left") == a
    assert json0.transform(nothing, a, "left") == nothing
    undo = json0.invert(both, content)
    assert same(json0.apply(after, undo), content)
    assert json0.resolve(after, undo)[1] == undo


def unfollowed(operation: json0.Op, other: json0.Op, side: Side) -> json0.Op:
    """As the server transforms, with a rest behind each pair of components."""
    steps = json0.crossing(operation, other, 1) if side == "left" else json0.crossing(other, operation, 1)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            both: tuple[json0.Op, json0.Op] = end.value
            return both[0 if side == "left" else 1]


@given(st.integers(0, 2**32))
@example(733800881)  # an element that is inserted and removed again: only the liar's two components were two
@example(16383)
@example(25175)
def test_what_was_there_is_not_believed(seed: int) -> None:
    """Lies about ``od`` and ``ld`` change neither the outcome, whoever transforms past them, nor what can be undone, nor stop a
    transform."""
    random = Random(seed)
    content = random_value(random)
    (a, after_a), (b, after_b) = (random_operation(random, content, 3) for _ in range(2))
    a, b = json0.parse(a), json0.parse(b)
    lie = with_lies(random, a)
    assert json0.resolve(content, lie)[1] == json0.resolve(content, a)[1]
    assert json0.invert(lie, content) == json0.invert(a, content)
    for side, other in (("left", "right"), ("right", "left")):
        after = json0.apply(after_b, json0.transform(a, b, side))  # type: ignore[arg-type]
        assert same(json0.apply(after_b, json0.transform(lie, b, side)), after)  # type: ignore[arg-type]
        for told in (a, lie):
            assert same(json0.apply(after_a, json0.transform(b, told, other)), after)  # type: ignore[arg-type]
        # The server does not even follow what is said to be removed.
        blind = unfollowed(lie, b, side)  # type: ignore[arg-type]
        assert json0.resolve(after_b, blind)[1] == json0.resolve(after_b, json0.transform(a, b, side))[1]  # type: ignore[arg-type]


def test_what_a_client_says_it_removes_costs_nothing() -> None:
    """A transform past thousands of operations must not copy it for each of them."""
    operation = json0.parse([{"p": ["list"], "od": [0] * 10}])
    claimed = operation.components[0]["od"]
    for index in range(10):
        operation = unfollowed(operation, json0.parse([{"p": ["list", index], "na": 1}]), "left")
    assert operation.components[0]["od"] is claimed
    changed = json0.transform(operation, json0.parse([{"p": ["list", 3], "na": 1}]), "left")
    assert changed.components[0]["od"][3] == 1, "as upstream"


@given(st.integers(0, 2**32))
@example(16383)
def test_a_composite_of_lies_is_that_of_the_truth(seed: int) -> None:
    random = Random(seed)
    content = random_value(random)
    first, middle = random_operation(random, content, 4)
    second, _ = random_operation(random, middle, 4)
    a, b = json0.parse(first), json0.parse(second)
    told = json0.compose(with_lies(random, a), with_lies(random, b))
    assert json0.resolve(content, told)[1] == json0.resolve(content, json0.compose(a, b))[1]


@given(st.integers(0, 2**32))
@example(733800881)
@example(16383)
@example(25175)
def test_a_document_believes_nobody_and_all_end_alike(seed: int) -> None:
    """The lie arrives last, made at the first revision: the log tells the truth, and its honest author comes to the same content."""
    random = Random(seed)
    content = random_value(random)
    (a, after_a), (b, _) = (random_operation(random, content, 3) for _ in range(2))
    a, b = json0.parse(a), json0.parse(b)
    kind = JsonType()
    document = kind.open("d", "g")
    document.restore(0, kind.new_snapshot(content, 2**20))
    document.receive("bob", "bob", 1, 0, b)
    document.receive("ada", "ada", 1, 0, with_lies(random, a))
    replica = content
    for entry in document.since(0):
        after, told = json0.resolve(replica, entry.operation)
        assert told == entry.operation
        replica = after
    assert same(replica, document.content())
    assert same(json0.apply(after_a, json0.transform(b, a, "right")), document.content())


# ---------------------------------------------------------------------------------------------------------- the oracle


def raised(call: Callable[..., Any], *arguments: Any) -> Any:
    """What it gives, or the code of what it raises."""
    try:
        return call(*arguments)
    except SynclineError as error:
        return error.code


def as_json(value: Any) -> Any:
    """Operations as their components, also in what ``resolve`` gives."""
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value.components if isinstance(value, json0.Op) else value


@given(randoms, st.integers(1, 6), st.booleans(), st.booleans())
def test_it_is_the_oracle(random: Random, most: int, lies: bool, strange: bool) -> None:
    """Component by component, value by value and refusal by refusal; ``strange``: not made on one content."""
    content = random_value(random)
    first, after = random_operation(random, content, most)
    second, _ = random_operation(random, random_value(random) if strange else content, most)
    third, _ = random_operation(random, random_value(random) if strange else after, most)
    a, b, c = json0.parse(first), json0.parse(second), json0.parse(third)
    if lies:
        a, b = with_lies(random, a), with_lies(random, b)
    x, y, z = a.components, b.components, c.components
    assert x == slow.parse(x) and c.components == slow.parse(third)
    assert c.encode() == msgspec.msgpack.encode(slow.parse(third), order="sorted"), "as logs have it"
    for side in ("left", "right"):
        mine = raised(json0.transform, a, b, side)
        assert same(as_json(mine), raised(slow.transform, x, y, side))
        blind = raised(unfollowed, a, b, side)
        expected = raised(lambda side=side: slow.transform(x, y, side, victims=False))
        assert same(as_json(blind), expected)
        if isinstance(mine, json0.Op):
            assert same(
                as_json(raised(json0.resolve, after, mine)), listed(raised(slow.resolve, after, mine.components))
            )
    bare = a.without_claims()
    assert same(bare.components, [part | {key: None for key in ("od", "ld") if key in part} for part in x])
    assert bare.is_same(a) and bare.without_claims() is bare
    assert same(as_json(raised(json0.resolve, content, bare)), listed(raised(slow.resolve, content, x)))
    assert same(json0.compose(a, c).components, slow.compose(x, z))
    assert same(json0.invert_told(a).components, slow.invert_told(x))
    assert same(as_json(raised(json0.invert, c, after)), raised(slow.invert, z, after))
    for start in (content, after):
        for mine, theirs in ((a, x), (b, y), (c, z), (json0.compose(a, c), slow.compose(x, z))):
            assert same(as_json(raised(json0.resolve, start, mine)), listed(raised(slow.resolve, start, theirs)))


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "value", [*SHAPES, *([component] for component, _ in UNFIT)], ids=lambda value: repr(value)[:60]
)
def test_it_takes_what_the_oracle_takes(value: Any) -> None:
    mine = raised(json0.parse, value)
    assert as_json(mine) == raised(slow.parse, value)
    if isinstance(mine, json0.Op):
        assert as_json(raised(json0.resolve, DOCUMENT, mine)) == listed(raised(slow.resolve, DOCUMENT, mine.components))


@given(randoms)
def test_values_are_the_oracles(random: Random) -> None:
    odd = [
        1.0,
        -0.0,
        2.0**53,
        2**60,
        2**53 + 1,
        float("inf"),
        "\ud800",
        b"x",
        {"__proto__": 1},
        {1: 1},
        {"k" * 1025: 1},
    ]
    value = random_value(random)
    for one in (value, [value, random.choice(odd)], {"k": random.choice(odd)}):
        mine, theirs = raised(check_value, one), raised(slow_values.check_value, one)
        assert same(mine, theirs)
        if not isinstance(mine, str | ErrorCode):
            assert size(mine) == slow_values.size(mine)
    other = random_value(random)
    assert same(value, other) == slow_values.same_value(value, other)


def test_deep_values_overflow_no_stack() -> None:
    for compare in (lambda value: same_value(value, nested(10**5)), size):
        with pytest.raises(RecursionError):
            compare(nested(10**5))
    with pytest.raises(SynclineError):
        check_value(nested(10**5))


# ----------------------------------------------------------------------------------------------------------- the peer


@pytest.mark.fuzz
@pytest.mark.parametrize("most", [1, 5])
def test_the_same_as_ot_json0(peers: Peers, most: int) -> None:
    cases = []
    for seed in range(1500):
        random = Random(seed)
        content = random_value(random)
        (a, after_a), (b, after_b) = (random_operation(random, content, most) for _ in range(2))
        after_c = random_operation(random, after_a, most)[0]
        cases.append((content, json0.parse(a), json0.parse(b), json0.parse(after_c), after_b))
    calls: list[Any] = []
    ours: list[Any] = []
    for content, a, b, c, after_b in cases:
        moved = json0.transform(a, b, "left")
        calls += [
            ("json0.transform", a.components, b.components, "left"),
            ("json0.transform", b.components, a.components, "right"),
            ("json0.compose", a.components, c.components, content),
            ("json0.invert", a.components),
            ("json0.apply", content, a.components),
            ("json0.apply", after_b, moved.components),
        ]
        ours += [
            moved.components,
            json0.transform(b, a, "right").components,
            json0.compose(a, c),
            json0.invert(a, content).components,
            json0.apply(content, a),
            json0.apply(after_b, moved),
        ]
    for call, mine, theirs in zip(calls, ours, peers.batch(calls), strict=True):
        if call[0] == "json0.compose":  # upstream keeps "adds 0 in all" and the like
            content = call[3]
            assert same(json0.apply(content, json0.parse(theirs)), json0.apply(content, mine))
        else:
            assert mine == theirs, call


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", SHAPES, ids=lambda value: repr(value)[:60])
def test_shapes_that_are_refused(value: Any) -> None:
    with pytest.raises(SynclineError) as error:
        json0.parse(value)
    assert error.value.code == ErrorCode.OPERATION_INVALID


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_depth_counts_path_and_value() -> None:
    json0.parse([{"p": ["k"] * 4, "oi": nested(MAX_DEPTH - 4)}])
    with pytest.raises(SynclineError):
        json0.parse([{"p": ["k"] * 4, "oi": nested(MAX_DEPTH - 3)}])
    with pytest.raises(SynclineError):
        check_value(nested(100_000))


def test_numbers_are_those_of_javascript() -> None:
    values = [1.0, -0.0, 0.5, 2**53 - 1, 1 - 2**53, 2**53, -(2**53), 1e300, 10**16, 2.0**60]
    checked = check_value(values)
    assert checked == values
    assert [type(number) for number in checked] == [int, int, float, int, int, float, float, float, float, float]
    assert str(checked[1]) == "0"


def written(double: float) -> int:
    """What JSON.stringify writes for an integer below 1e21: the digits of repr, then zeros."""
    return int(Decimal(repr(double)))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-2, 2))
@example(2.0**63, 0)
@example(-31436164481225708.0, -2)
@example(1.2345678901234567e20, 0)
@example(2.0**53, 1)
def test_an_integer_is_a_double_or_what_javascript_writes_for_one(double: float, off: int) -> None:
    """Nothing is rounded: what is no double is refused, and every double of a browser comes through."""
    assert check_number(double) == double
    if abs(double) < 1e21 and double.is_integer():
        assert check_number(written(double)) == double
        value = written(double) + off
        nearest = float(value)
        try:
            told = check_number(value)
        except SynclineError:
            assert value not in (nearest, written(nearest))
        else:
            assert told == value == nearest or (told == nearest and value == written(nearest))


def test_what_is_removed_is_never_refused_for_its_value() -> None:
    """A browser cannot say 2^53 + 1, and nobody need say the truth."""
    content = {"o": {"n": 2.0**60}, "list": [1]}
    for odd in (2**53 + 1, 10**400, float("nan"), "\ud800", nested(100), {"__proto__": 1}, "x" * 5):
        operation = json0.parse([{"p": ["o"], "od": odd}, {"p": ["list", 0], "ld": [odd], "li": 2}])
        after, told = json0.resolve(content, operation)
        assert after == {"list": [2]}
        assert told.components == [{"p": ["o"], "od": {"n": 2.0**60}}, {"p": ["list", 0], "ld": 1, "li": 2}]


def test_a_sum_stays_within_the_integers() -> None:
    most = 2**53 - 1
    assert json0.apply(most - 1, json0.parse([{"p": [], "na": 1}])) == most
    assert json0.apply(-most, json0.parse([{"p": [], "na": most}])) == 0
    for start, change in ((most, 1), (1, most), (-most, -1), (2.0**53, -1), (2.0**53, 0)):
        with pytest.raises(SynclineError):
            json0.apply(start, json0.parse([{"p": [], "na": change}]))


@pytest.mark.parametrize(("component", "why"), UNFIT, ids=lambda value: repr(value)[:60])
def test_what_does_not_fit_changes_nothing(component: Any, why: str) -> None:
    before = copy.deepcopy(DOCUMENT)
    operation = json0.parse([{"p": ["list", 0], "ld": 1}, {"p": ["list", 0], "li": 1}, component])
    with pytest.raises(SynclineError) as error:
        json0.apply(DOCUMENT, operation)
    expected = ErrorCode.OPERATION_INVALID if why == "invalid" else ErrorCode.OPERATION_OUT_OF_RANGE
    assert error.value.code == expected
    assert before == DOCUMENT


@given(randoms)
def test_operations_on_different_documents_never_break_transform(random: Random) -> None:
    """Hostile: an operation that was not made on the document it claims. It may come out as anything that ``resolve``
    judges; nothing else than SynclineError is raised."""
    a, b = (json0.parse(random_operation(random, random_value(random), 4)[0]) for _ in range(2))
    content = random_value(random)
    for side in ("left", "right"):
        try:
            moved = json0.transform(a, b, side)  # type: ignore[arg-type]
            json0.resolve(content, moved)
            json0.invert(moved, content)
        except SynclineError:
            pass


# -------------------------------------------------------------------------------------------------------------- text0


def edited(text: str, edits: list[Any]) -> str:
    result: str = json0.apply(text, on_text(edits))
    return result


def on_text(edits: list[Any]) -> json0.Op:
    return json0.parse([{"p": [], "t": "text0", "o": edits}])


def random_edits(random: Random, text: str, most: int = 5) -> list[Any]:
    now, result = text, []
    for _ in range(random.randrange(1, most + 1)):
        start = random.randrange(len(now) + 1)
        if random.random() < 0.5 and start < len(now):
            end = random.randrange(start + 1, len(now) + 1)
            result.append({"p": length(now[:start]), "d": now[start:end]})
            now = now[:start] + now[end:]
        else:
            result.append({"p": length(now[:start]), "i": random.choice(["x", "💃", "yz"])})
            now = now[:start] + result[-1]["i"] + now[start:]
    assert edited(text, result) == now
    return result


def random_text(random: Random, most: int = 8) -> str:
    return "".join(random.choice(["a", "é", "💃", "漢b"]) for _ in range(random.randrange(most)))


@given(randoms)
def test_text_edits_converge_and_undo(random: Random) -> None:
    text = random_text(random)
    a, b = (on_text(random_edits(random, text)) for _ in range(2))
    with_a, with_b = json0.apply(text, a), json0.apply(text, b)
    one = json0.apply(with_b, json0.transform(a, b, "left"))
    assert one == json0.apply(with_a, json0.transform(b, a, "right"))
    assert json0.apply(with_a, json0.invert(a, text)) == text
    assert json0.apply(text, json0.compose(on_text([]), a)) == with_a
    assert json0.apply(text, json0.diff(text, with_b)) == with_b


@given(randoms, st.sampled_from([0, 5000]))
def test_text_edits_are_the_oracles(random: Random, more: int) -> None:
    """Also in strings that are long enough for another way (text0.LONG)."""
    text = random_text(random, 12) + "z" * more
    a, b = (random_edits(random, text, 6) for _ in range(2))
    for side in ("left", "right"):
        moved = json0.transform(on_text(a), on_text(b), side)  # type: ignore[arg-type]
        expected = text0.transform(a, b, side)  # type: ignore[arg-type]
        assert moved.components == ([{"p": [], "t": "text0", "o": expected}] if expected else [])
        assert edited(edited(text, b), expected) == text0.apply(text0.apply(text, b), expected)
    assert json0.compose(on_text([]), on_text(a)).components == on_text(a).components
    both = json0.compose(on_text(a), on_text(random_edits(random, edited(text, a))))
    assert edited(text, a) == text0.apply(text, a)
    if both.components:
        assert json0.apply(text, both) == text0.apply(text, both.components[0]["o"])
    # Edits of another string: the same refusal, or none.
    for edits in (b, [edit | {"p": edit["p"] + random.randrange(3)} for edit in b]):
        other = random_text(random)
        try:
            expected_text = text0.apply(other, edits)
        except SynclineError as error:
            with pytest.raises(SynclineError) as mine:
                edited(other, edits)
            assert mine.value.code == error.code
        else:
            assert edited(other, edits) == expected_text


def test_a_deletion_in_many_pieces() -> None:
    """Each insert splits it once more; upstream recurses there, and so could be made to overflow."""
    text = "x" * 800
    inserts = [{"p": 2 * at + at, "i": "y"} for at in range(1, 300)]
    deletion = [{"p": 0, "d": text}]
    one = json0.transform(on_text(deletion), on_text(inserts), "left")
    two = json0.transform(on_text(inserts), on_text(deletion), "right")
    assert len(one.components[0]["o"]) == 300
    assert json0.apply(edited(text, inserts), one) == json0.apply("", two) == "y" * 299


# ------------------------------------------------------------------------------------------------------------- bounds


@given(randoms, st.integers(1, 12))
def test_the_steps_of_a_transform_are_known_before(random: Random, most: int) -> None:
    """Three a microsecond, of as many as the oracle does; deletions that inserts cut make more of them."""
    steps = dict.fromkeys(("edits", "components"), 0)

    def counting(what: str, step: Any) -> Any:
        def counted(*arguments: Any) -> None:
            steps[what] += 1
            step(*arguments)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text0, "transform_edit", counting("edits", text0.transform_edit))
        patch.setattr(slow, "transform_component", counting("components", slow.transform_component))
        text = random_text(random, 40)
        content = random_value(random)
        for a, b in (
            (on_text(random_edits(random, text, most)), on_text(random_edits(random, text, most))),
            (on_text([{"p": 0, "d": text}] if text else []), on_text(random_edits(random, text, 3 * most))),
            [json0.parse(random_operation(random, content, most)[0]) for _ in range(2)],
        ):
            for one, two in ((a, b), (b, a)):
                steps.update(edits=0, components=0)
                slow.transform(one.components, two.components, "left")
                # The oracle does each for both sides, and strings for both sides of their components.
                assert max(steps["edits"] / 4, steps["components"] / 2) <= 3 * JsonType().cost(one, two)
                assert JsonType().cost(one, two) == JsonType().cost(two, one)


def test_what_weighs_much_in_a_transform() -> None:
    kind = JsonType()
    small = on_text([{"p": 1, "i": "x"}])

    def cost(*components: Any) -> int:
        return kind.cost(json0.parse(list(components)), small)

    insert, deletion = {"p": 0, "i": "y" * 1_000_000}, {"p": 0, "d": "y" * 1_000_000}
    assert cost({"p": [], "t": "text0", "o": [insert]}) <= 2, "it is not looked into"
    assert cost({"p": [], "t": "text0", "o": [deletion]}) > 500, "an insert cuts it"
    assert cost({"p": [], "t": "text0", "o": [insert, {"p": 9, "i": "z"}]}) > 500, "they become one"
    wide = cost({"p": [], "t": "text0", "o": [{"p": 0, "d": "💃" * 1_000_000}]})
    assert wide > 3 * cost({"p": [], "t": "text0", "o": [deletion]})
    for count, long, least in ((1000, 900, 20_000), (10, 100_000, 1_000), (1000, 10, 500)):
        inserts = [{"p": ["t", 0], "si": "x" * long}] * count
        assert cost(*inserts) > least, "single inserts become one as well"
        assert cost(*({"p": ["t", 9], "sd": "x" * long} for _ in range(count))) > least, "and deletions"
        assert cost(*({"p": ["t", at, 0], "si": "x" * long} for at in range(count))) < least, "not in several strings"
        mixed = [part for one in inserts[:100] for part in (one, {"p": ["k"], "oi": 1})]
        assert cost(*mixed) > 2 * cost(*mixed[1::2]), "what stands between them may go"
        many = json0.parse(inserts)
        for one, two in ((many, small), (small, many)):
            assert kind.labour(kind.weight(one), kind.weight(two), 1) + 1 >= kind.cost(one, two) // 2
    assert cost({"p": ["k" * 1000] * 64, "oi": 1}) > cost({"p": ["k"], "oi": 1})
    # What adds them up is no less where it decides whether the loop may do it.
    for edits in ([deletion], [{"p": 0, "d": "y" * 60}], [{"p": 2 * n, "i": "x"} for n in range(100)]):
        operation = on_text(edits)
        for other in (small, on_text([{"p": 3 * n, "i": "ab"} for n in range(20)])):
            assert kind.labour(kind.weight(operation), kind.weight(other), 1) + 1 >= kind.cost(operation, other) // 2


def test_what_is_removed_is_followed_within_a_bound() -> None:
    change = json0.parse([{"p": ["list", 0], "na": 1}])
    for count, followed in ((1000, True), (json0.MAX_FOLLOWED // 8 + 1, False)):
        removal = json0.parse([{"p": ["list"], "od": [0] * count}])
        moved = json0.transform(removal, change, "left").components[0]["od"]
        assert moved[0] == followed and len(moved) == count
        # ``resolve`` tells the truth in any case.
        assert json0.resolve({"list": [1, 2]}, json0.transform(removal, change, "left"))[1].components == [
            {"p": ["list"], "od": [1, 2]}
        ]


# ---------------------------------------------------------------------------------------------------------- splitting


@given(randoms, st.integers(0, 300))
def test_pieces_do_the_same(random: Random, limit: int) -> None:
    """Each may be submitted, and is as small as was asked for where only texts make it large."""
    kind = JsonType()
    content = {"text": random_text(random, 400), "list": [random_text(random, 40), 1], "n": 1}
    components: list[Any] = [
        {"p": ["text"], "t": "text0", "o": random_edits(random, content["text"], 8)},
        {"p": ["n"], "na": 1},
        {"p": ["list", 0], "t": "text0", "o": [{"p": 0, "i": random.choice(["é", "💃", "x", "漢"]) * 300}]},
        {"p": ["list", 1], "ld": 1, "li": "y" * random.randrange(100)},
    ]
    operation = json0.parse(components)
    pieces = kind.split(operation, limit)
    after = content
    for piece in pieces:
        assert json0.parse(piece.components) == piece
        after = json0.apply(after, piece)
    assert same(after, json0.apply(content, operation))
    if limit >= 60:
        for piece in pieces:
            assert kind.bulk(piece) <= limit or ("li" in piece.components[0] and len(piece) == 1)
    assert kind.split(operation, 10**6) == kind.split(operation) == [operation]
    assert kind.split(json0.parse([]), limit) == [json0.parse([])]


def test_many_edits_of_one_string_are_split() -> None:
    """2,500 that wait together: no request takes more than 1,000."""
    kind = JsonType()
    waiting = on_text([])
    for number in range(2500):
        waiting = json0.compose(waiting, on_text([{"p": 2 * number, "i": "x"}]))
    assert len(waiting) == 1 and waiting.count == 2500
    pieces = kind.split(waiting)
    assert [piece.count for piece in pieces] == [1000, 1000, 500]
    text = "-" * 2500
    after = text
    for piece in pieces:
        after = json0.apply(after, json0.parse(piece.components))
    assert after == json0.apply(text, waiting) == "x-" * 2500
    # Behind another component, and with others that fit beside it.
    mixed = json0.parse(
        [{"p": ["n"], "na": 1}] * 600
        + [{"p": ["t"], "t": "text0", "o": [{"p": 0, "i": "a"}, {"p": 9, "i": "b"}] * 200}]
    )
    assert [piece.count for piece in kind.split(mixed)] == [1000]
    mixed = json0.compose(
        mixed, json0.parse([{"p": ["t"], "t": "text0", "o": [{"p": 5, "i": "c"}]}, {"p": ["n"], "na": 1}])
    )
    assert [piece.count for piece in kind.split(mixed)] == [1000, 2]


def test_a_paste_is_split_by_bytes() -> None:
    kind = JsonType()
    for character in ("x", "é", "漢", "💃"):
        paste = on_text([{"p": 3, "i": character * 100_000}, {"p": 0, "d": character * 100_000}])
        pieces = kind.split(paste, 10_000)
        assert max(map(kind.bulk, pieces)) <= 10_000 and len(pieces) <= 3 * kind.bulk(paste) // 10_000
        after = "abc" + character * 10
        start = character * 100_000 + after
        back = start
        for piece in kind.split(on_text([{"p": 0, "d": character * 100_000}]), 10_000):
            back = json0.apply(back, piece)
        assert back == after
    value = json0.parse([{"p": [], "od": None, "oi": "x" * 100_000}])
    assert kind.split(value, 10_000) == [value], "it cannot be told in pieces"


def test_sizes() -> None:
    assert size("a💃") == 6
    assert size({"ab": [1, "x"]}) == 3 + 5 + (3 + 8 + 4)
