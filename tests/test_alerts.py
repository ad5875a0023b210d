"""docs/alerts.yml by `promtool test rules`: each alert fires when it should and not otherwise, on the series that a node exposes.

The series are those of one scrape of a new node, over HTTP. A case changes some of them by their full names; one that is not in that
scrape (it was renamed, has another label, or begins only with its first increment) is an error of the case. All others stand still,
beside the node is another one where nothing happens, and no other alert may fire.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import ServerProcess

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "docs" / "alerts.yml"
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text("utf-8"), re.MULTILINE)
#: Minutes of a case, at whose end it is looked at, with a sample a minute: what most alerts look back on, and what those do that
#: compare with what is usual.
FEW, MOST = 75, 420
BORN = "process_start_time_seconds"
OLD = -86_400.0
JSON, MSGPACK, HTTP = (
    f'syncline_connections{{codec="{codec}",transport="{transport}"}}'
    for transport, codec in (("ws", "json"), ("ws", "msgpack"), ("http", "none"))
)

#: The last samples of a series; before them is the first of them. None: no sample.
Values = Sequence[float | None]
Scrape = dict[str, float]

pytestmark = pytest.mark.xdist_group("alerts")


def named(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """`name{label="value"}` -> value, the labels in alphabetical order."""
    with (
        ServerProcess(tmp_path_factory.mktemp("alerts")) as server,
        urllib.request.urlopen(server.url + "/metrics") as answer,
    ):
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    found = {named(one.name, one.labels): one.value for family in families for one in family.samples}
    return {**found, BORN: OLD, "up": 1.0}  # Prometheus adds the last one


# -- values ------------------------------------------------------------------------------------------------------------


def since(minutes: int, value: float | None, before: float | None = 0.0) -> Values:
    """Another value in the last minutes."""
    return [before, *[value] * minutes]


def rising(by: float, minutes: int, before: float = 0.0) -> Values:
    """By so much in each of the last minutes, and by ``before`` in those before them."""
    steps = [before] * (MOST - minutes) + [by] * minutes
    return [0.0, *itertools.accumulate(steps)]


def born(*minutes: int) -> Values:
    """The process was started so many minutes before the end, the first time a day before. In seconds after the end."""
    starts = {MOST - ago: -60.0 * ago for ago in minutes}
    return list(itertools.accumulate(range(MOST + 1), lambda old, minute: starts.get(minute, old), initial=OLD))[1:]


def taking(histogram: str, labels: str, seconds: float, minutes: int) -> dict[str, Values]:
    """Ten times a minute."""
    bounds = ("0.25", "0.5", "1.0", "2.5", "10.0", "+Inf")
    return {
        f'{histogram}_bucket{{le="{bound}"{labels}}}': rising(10 if float(bound) >= seconds else 0, minutes)
        for bound in bounds
    }


# -- cases -------------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """``fires``: ways in which the series of a node are when the alert does; ``calm``: in which it does not, though it is near."""

    alert: str
    summary: str
    fires: list[dict[str, Values]]
    calm: list[dict[str, Values]]
    labels: dict[str, str] = field(default_factory=dict)
    severity: str = "warning"


def fault(alert: str, series: str, window: int, summary: str, severity: str = "critical") -> Case:
    """What is told for ``window`` minutes when it happens once."""
    return Case(
        alert,
        summary,
        fires=[
            {series: since(1, 1)},
            {series: since(window - 2, 8, before=7)},
            # Before its first scrape; and in a young process, as often as in its former life.
            {series: since(window - 2, 1, before=None), BORN: born(window - 1)},
            {series: since(2, 1, before=1), BORN: born(3)},
        ],
        calm=[
            {series: [7]},
            {series: since(window + 2, 1)},
            {series: since(2, 0, before=7), BORN: born(3)},
            {series: since(window + 2, 1, before=None), BORN: born(window + 3)},
        ],
        severity=severity,
    )


LIMIT = 10_000  # connections
CASES = [
    Case(
        "SynclineDown",
        "{} does not answer",
        fires=[{"up": since(2, 0, before=1)}],
        calm=[{"up": since(1, 0, before=1)}, {"up": since(9, None, before=1)}],  # no target any more
        severity="critical",
    ),
    Case(
        "SynclineNotReady",
        "{}: the store does not work",
        fires=[{'syncline_ready{part="store"}': since(2, 0, before=1)}],
        calm=[{'syncline_ready{part="store"}': since(1, 0, before=1)}],
        labels={"part": "store"},
        severity="critical",
    ),
    Case(
        "SynclineNotReady",
        "{}: the broker does not work",
        fires=[{'syncline_ready{part="broker"}': since(2, 0, before=1)}],
        calm=[{'syncline_ready{part="broker"}': since(1, 0, before=1)}],
        labels={"part": "broker"},
        severity="critical",
    ),
    Case(
        "SynclineRestarts",
        "{} was started 3 times within half an hour",
        fires=[{BORN: born(28, 15, 1)}],
        calm=[{BORN: born(28, 15)}, {BORN: born(40, 28, 15)}],
        severity="critical",
    ),
    fault(
        "SynclineDocumentDiverged",
        "syncline_document_divergences_total",
        60,
        "{}: a document in memory was not what its log gives",
    ),
    fault("SynclineDocumentDamaged", "syncline_document_load_failures_total", 60, "{}: a document is damaged"),
    fault("SynclineCommitsFail", "syncline_commit_failures_total", 15, "{}: the store did not take operations"),
    fault("SynclinePublishFails", "syncline_publish_failures_total", 15, "{}: the broker did not take messages"),
    fault("SynclineReadsFail", "syncline_store_read_failures_total", 15, "{}: the database could not be read"),
    fault(
        "SynclineEventsLost",
        "syncline_events_lost_total",
        60,
        "{}: messages are missing in the event log",
        "warning",
    ),
    fault(
        "SynclineInternalError",
        "syncline_faults_total",
        15,
        "{}: a fault of the server; its traceback is in the log",
        "warning",
    ),
    Case(
        "SynclineDivergenceClaims",
        "{}: clients say that their documents differ",
        fires=[{"syncline_document_divergence_claims_total": rising(1, 15)}],
        calm=[{"syncline_document_divergence_claims_total": rising(1, 8)}],
    ),
    Case(
        "SynclineDeliveriesUnproven",
        "{}: clients say that they miss messages",
        fires=[{'syncline_deliveries_unproven_total{class="history"}': since(1, 1)}],
        calm=[
            {'syncline_deliveries_unproven_total{class="history"}': since(62, 1)},
            {'syncline_deliveries_unproven_total{class="history"}': [3]},
        ],
        labels={"class": "history"},
    ),
    Case(
        "SynclineStoreBusy",
        "{}: the disk is busy for 90% of the time",
        fires=[{"syncline_store_transaction_seconds_total": rising(54, 12)}],
        calm=[
            {"syncline_store_transaction_seconds_total": rising(45, 12)},
            {"syncline_store_transaction_seconds_total": rising(54, 5)},
        ],
    ),
    Case(
        "SynclineOperationsSlow",
        "{}: one edit in a hundred takes 995ms",
        fires=[taking("syncline_operation_seconds", "", 0.6, 12)],
        calm=[taking("syncline_operation_seconds", "", 0.4, 12), taking("syncline_operation_seconds", "", 0.6, 3)],
    ),
    Case(
        "SynclineMessagesSlow",
        "{}: one message in a hundred takes 995ms",
        fires=[
            taking("syncline_publish_seconds", ',source="client"', 0.6, 12),
            taking("syncline_publish_seconds", ',source="api"', 0.6, 12),
        ],
        calm=[taking("syncline_publish_seconds", ',source="client"', 0.4, 12)],
    ),
    Case(
        "SynclineAlmostFull",
        "{}: 91% of the connections are taken",
        fires=[{JSON: since(2, 0.7 * LIMIT), MSGPACK: [0.15 * LIMIT], HTTP: [0.06 * LIMIT]}],
        calm=[{JSON: [0.7 * LIMIT], MSGPACK: [0.15 * LIMIT], HTTP: [0.04 * LIMIT]}],
    ),
    Case(
        "SynclineFilesAlmostOut",
        "{}: 91% of the file descriptors are open",
        fires=[{"process_open_fds": [910], "process_max_fds": [1000]}],
        calm=[{"process_open_fds": [890], "process_max_fds": [1000]}],
    ),
    Case(
        "SynclineReadersBehind",
        "{}: readers fall behind",
        fires=[{JSON: [60], MSGPACK: [40], HTTP: [50], "syncline_slow_behind_total": rising(70, 12)}],
        calm=[
            {JSON: [60], MSGPACK: [40], HTTP: [0], "syncline_slow_behind_total": rising(50, 12)},
            {JSON: [60], MSGPACK: [40], HTTP: [0], "syncline_slow_behind_total": rising(70, 3)},
        ],
    ),
    Case(
        "SynclineReadersCut",
        "{}: slow readers are disconnected",
        fires=[{JSON: [60], MSGPACK: [40], HTTP: [50], "syncline_slow_consumers_total": rising(7, 12)}],
        calm=[
            {JSON: [60], MSGPACK: [40], HTTP: [0], "syncline_slow_consumers_total": rising(5, 12)},
            {JSON: [60], MSGPACK: [40], HTTP: [0], "syncline_slow_consumers_total": rising(7, 3)},
        ],
    ),
    Case(
        "SynclineHandshakesRefused",
        "{}: more clients connect than it lets in",
        fires=[{"syncline_handshakes_refused_total": rising(1, 18)}],
        calm=[{"syncline_handshakes_refused_total": rising(1, 12)}, {"syncline_handshakes_refused_total": [9]}],
    ),
]


#: Alerts that compare with what is usual.
UNUSUAL = [
    Case(
        alert,
        f"{{}}: 1 {what}, far more than usual",
        fires=[
            {series: rising(60, 10, before=6)},
            {series: [None, *rising(60, MOST)[:13]]},  # of a new node
        ],
        calm=[
            {series: rising(24, 10, before=6)},
            {series: rising(60, MOST)},  # it is always so
            {series: rising(3, 10)},
        ],
    )
    for alert, series, what in (
        ("SynclineTokensRefused", "syncline_auth_failures_total", "tokens a second are refused"),
        ("SynclinePasswordsGuessed", "syncline_wrong_passwords_total", "passwords a second are wrong"),
    )
]


# -- promtool ----------------------------------------------------------------------------------------------------------


def promtool(*arguments: str | Path) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def notation(values: Values, minutes: int, end: float = 0.0) -> str:
    """`0x3 5`: 0 and three more, then 5; `_`: none. ``end``: what is added to each."""
    padded = [*[values[0]] * (minutes + 1 - len(values)), *values][-minutes - 1 :]
    runs = ((value, len(list(run))) for value, run in itertools.groupby(padded))
    return " ".join(f"_x{count}" if value is None else f"{value + end:.12g}x{count - 1}" for value, count in runs)


def node(scrape: Scrape, minutes: int, instance: str, changed: Mapping[str, Values]) -> Iterator[dict[str, str]]:
    """The series that the rules look at, as Prometheus keeps what it scrapes of a target."""
    unknown = changed.keys() - scrape.keys()
    assert not unknown, f"not in the first scrape of a node: {sorted(unknown)}"
    wanted = set(re.findall(r"\w+", RULES.read_text("utf-8")))
    for series, value in scrape.items():
        name, _, labels = series.rstrip("}").partition("{")
        if name in wanted:
            target = f'{name}{{{labels}{"," if labels else ""}instance="{instance}",job="syncline"}}'
            end = minutes * 60.0 if series == BORN else 0.0
            yield {"series": target, "values": notation(changed.get(series, [value]), minutes, end)}


def scenario(
    minutes: int, series: Iterable[dict[str, str]], told: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """All alerts at the end: none but those that are told."""
    looks = [{"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": told.get(alert, [])} for alert in ALERTS]
    return {"interval": "1m", "input_series": list(series), "alert_rule_test": looks}


def check(folder: Path, *scenarios: dict[str, Any], every: str = "1m") -> None:
    path = folder / "test.yml"  # JSON is YAML
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": every, "tests": scenarios}), "utf-8")
    promtool("test", "rules", path)


@pytest.mark.parametrize(("cases", "minutes", "every"), [(CASES, FEW, "1m"), (UNUSUAL, MOST, "5m")])
def test_alerts_fire_when_they_should_and_not_otherwise(
    cases: list[Case], minutes: int, every: str, scrape: Scrape, tmp_path: Path
) -> None:
    """Each way is a node; what it is called says what it shows."""
    scrape = {**scrape, "syncline_connections_limit": LIMIT}
    nodes = [node(scrape, minutes, "quiet", {}), node(scrape, minutes, "restarted", restarted(scrape))]
    told: dict[str, list[dict[str, Any]]] = {}
    for number, case in enumerate(cases):
        for way, changed in enumerate(case.fires):
            instance = f"{case.alert}-{number}-fires-{way}"
            nodes.append(node(scrape, minutes, instance, changed))
            labels = {"instance": instance, "job": "syncline", "severity": case.severity, **case.labels}
            annotations = {"summary": case.summary.format(instance)}
            told.setdefault(case.alert, []).append({"exp_labels": labels, "exp_annotations": annotations})
        for way, changed in enumerate(case.calm):
            nodes.append(node(scrape, minutes, f"{case.alert}-{number}-calm-{way}", changed))
    check(tmp_path, scenario(minutes, itertools.chain(*nodes), told), every=every)


def restarted(scrape: Scrape) -> dict[str, Values]:
    """Every counter falls: whatever it had counted was told in its time."""
    fallen = {
        series: since(3, value, before=value + 500)
        for series, value in scrape.items()
        if series.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))
    }
    return {**fallen, BORN: born(3)}


def test_no_target_at_all_is_told(scrape: Scrape, tmp_path: Path) -> None:
    labels = {"job": "syncline", "severity": "critical"}
    annotations = {"summary": "no node is a target of the job syncline"}
    told = {"SynclineMissing": [{"exp_labels": labels, "exp_annotations": annotations}]}

    def nodes(a: int, b: int) -> list[dict[str, str]]:
        """Two, gone for so many minutes."""
        gone = [
            {series: since(minutes, None, before=value) for series, value in scrape.items()} if minutes else {}
            for minutes in (a, b)
        ]
        return [*node(scrape, 30, "a", gone[0]), *node(scrape, 30, "b", gone[1])]

    check(
        tmp_path,
        scenario(30, [], told),
        scenario(30, nodes(15, 12), told),
        scenario(30, nodes(15, 6), {}),  # no sample is older than five minutes
        scenario(30, nodes(15, 0), {}),
    )


# -- the documents -----------------------------------------------------------------------------------------------------


def test_the_rules_are_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


def test_each_alert_has_a_case() -> None:
    assert {case.alert for case in CASES + UNUSUAL} | {"SynclineMissing"} == set(ALERTS)
    assert len(ALERTS) == len(set(ALERTS))


def test_the_rules_know_no_other_metric(scrape: Scrape) -> None:
    rules = "\n".join(line for line in RULES.read_text("utf-8").splitlines() if not line.startswith("#"))
    metrics = set(re.findall(r"\b(?:syncline|process)_\w+", rules))
    assert metrics == metrics & {series.partition("{")[0] for series in scrape}


def test_the_operations_page_explains_each_alert() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert re.findall(r"^\| `(Syncline\w+)` \|", page, re.MULTILINE) == ALERTS


def test_the_operations_page_shows_how_they_are_loaded(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    found = re.search(r"```yaml\n(rule_files:.*?)```", page, re.DOTALL)
    assert found is not None and "job_name: syncline\n" in found[1]
    (tmp_path / "prometheus.yml").write_text(found[1], "utf-8")
    shutil.copy(RULES, tmp_path)
    assert f"{len(ALERTS)} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")
