"""The browser client's JSON documents do what the core's do, component by component, on random cases and odd ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

from syncline.core.errors import SynclineError
from syncline.core.json import json0
from syncline.core.values.json_values import same_value
from tests.core.json_shapes import DOCUMENT, SHAPES, UNFIT
from tests.oracle.content_hash import value_hash
from tests.oracle.json0 import random_operation, random_value

HERE = Path(__file__).resolve().parent


def ask(node: str, calls: list[Any]) -> list[Any]:
    line = json.dumps(calls)
    done = subprocess.run(
        [node, str(HERE / "json.mjs")], input=line + "\n", capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    assert len(answers) == len(calls)
    return answers


def test_it_agrees_with_the_core(node: str) -> None:
    calls: list[Any] = []
    expected: list[Any] = []
    for seed in range(1500):
        random = Random(seed)
        content = random_value(random)
        (first, after), (second, _) = (random_operation(random, content, 1 + seed % 6) for _ in range(2))
        then, _ = random_operation(random, after, 3)
        one, two, three = json0.parse(first), json0.parse(second), json0.parse(then)
        a, b, c = one.components, two.components, three.components
        lie = [{n: None if n in ("od", "ld") else v for n, v in part.items()} for part in a]
        liar = json0.parse(lie)
        claims = [{n: ["\ud800"] if n in ("od", "ld") else v for n, v in part.items()} for part in a]
        calls += [
            ("parse", first),
            ("transform", a, b, "left"),
            ("transform", b, a, "right"),
            ("compose", a, c),
            ("invert", a, content),
            ("apply", content, a),
            ("commit", content, lie),
            ("transform", lie, b, "left"),
            ("transform", b, lie, "right"),
            ("compose", lie, c),
            ("hash", after),
            ("parse", claims),
        ]
        expected += [
            a,
            json0.transform(one, two, "left").components,
            json0.transform(two, one, "right").components,
            json0.compose(one, three).components,
            json0.invert(one, content).components,
            json0.apply(content, one),
            [json0.apply(content, one), json0.resolve(content, one)[1].components],
            json0.transform(liar, two, "left").components,
            json0.transform(two, liar, "right").components,
            json0.compose(liar, three).components,
            value_hash(after),
            json0.parse(claims).components,
        ]
    for call, got, wanted in zip(calls, ask(node, calls), expected, strict=True):
        assert got == {"ok": wanted}, call


def test_its_differences_are_the_cores(node: str) -> None:
    pairs = []
    for seed in range(500):
        random = Random(seed)
        content = random_value(random)
        pairs.append((content, random_operation(random, content, 1 + seed % 6)[1]))
    many: Any = {
        "keys": {f"k{number}": number for number in range(900)},
        "list": [f"x{number}" for number in range(900)],
    }
    pairs.append(({"keys": {}, "list": []}, many))
    for name, function in (("diff", json0.diff), ("drift", json0.drift)):
        answers = ask(node, [(name, content, after) for content, after in pairs])
        for (content, after), answer in zip(pairs, answers, strict=True):
            assert answer["ok"] == function(content, after).components
            assert same_value(json0.apply(content, json0.parse(answer["ok"], trusted=True)), after)


def test_it_refuses_what_the_core_refuses(node: str) -> None:
    calls: list[Any] = []
    wanted: list[str] = []
    for shape in SHAPES:
        try:
            line = json.dumps(shape, allow_nan=False)
        except (TypeError, ValueError):
            continue  # not JSON at all
        if json.loads(line) != shape or any(odd in line for odd in (str(2**53 + 1), "1.0", "0" * 99)):
            continue  # keys and numbers that JSON or JavaScript reads as others
        calls.append(("parse", shape))
        wanted.append("operation_invalid")
    for component, _ in UNFIT:
        operation = json0.parse([component])
        try:
            json0.apply(DOCUMENT, operation)
        except SynclineError as error:
            wanted.append(error.code.value)
            calls.append(("apply", DOCUMENT, operation.components))
    assert len(calls) > 60
    for call, got, code in zip(calls, ask(node, calls), wanted, strict=True):
        assert got == {"error": code}, call
