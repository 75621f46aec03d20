"""Every command of the bench for a moment, on real servers: result files, the audit, the peer, the report."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner
from hdrh.histogram import HdrHistogram

from bench import audit, measure, site
from bench.__main__ import main
from bench.commands import everything
from bench.corpus import Corpus, Mix, make_clients, sign
from bench.find_max import find_max, holds
from bench.load import Generator
from bench.measure import Load
from pouw import _fastverify

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.load import Answer
    from bench.site import Site
    from pouw.local.servers import LocalServers
    from tests.conftest import StartNode

SECS = ["--seconds", "0.2"]
MIXED = Mix(6, 10, invalid=0.2, replayed=0.2)


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Site:
    """A node with lifted limits, as the bench knows one by its URL and its database."""
    database = new_database()
    started = start_node(database, **{name.removeprefix("POUW_").lower(): text for name, text in site.LIFTED.items()})
    return site.Site(f"http://127.0.0.1:{started.port}", database)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all result files of this module."""
    return tmp_path_factory.mktemp("bench")


def run(out: Path, *arguments: str) -> dict[str, Any]:
    """Run a command and return the result file that it wrote."""
    before = set(out.glob("*.json"))
    done = CliRunner().invoke(main, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    [written] = set(out.glob("*.json")) - before
    result: dict[str, Any] = json.loads(written.read_text())
    check(result, arguments[0])
    return result


def check(result: dict[str, Any], name: str) -> None:
    """Check what every result file has."""
    assert (result["format"], result["name"]) == (1, name)
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["memory_bytes"] > 2**20
    assert result["versions"]["gevent"]
    assert set(result["git"]) == {"revision", "changed"}
    for each in result["runs"]:
        answered = each["statuses"].get("200", 0)
        assert each["statuses"] == {"200": each["requests"]}
        assert HdrHistogram.decode(each["histogram"]).get_total_count() == answered
        assert sum(each["per_second"]) == answered * each.get("batch_size", 1)
        assert set(each["latency_ms"]) == {"p50", "p90", "p99", "p99_9", "max"}
        assert each["generator"]["cpu_share"] > 0
        if each["kind"] == "submit":
            assert each["audit"]["ok"], each["audit"]
            assert each["audit"]["rows"] == each["audit"]["accepted"] > 0


def at(node: Site) -> list[str]:
    """Options that name the node."""
    assert node.database is not None
    return ["--url", node.base, "--database", node.database]


def test_verify(out: Path) -> None:
    result = run(out, "verify", "--rounds", "2", "--batch-size", "1", "--batch-size", "10")
    found = {(row["engine"], row["threads"], row["batch_size"]) for row in result["rows"]}
    engines = (*_fastverify.PATHS, "libsodium", "pynacl", "cryptography")
    assert found == {(engine, threads, size) for engine in engines for threads in (1, 2) for size in (1, 10)}
    assert all(row["us_per_signature"] > 0 and len(row["samples"]) == 2 for row in result["rows"])
    assert {row["ratio_to_libsodium"] for row in result["rows"] if row["engine"] == "libsodium"} == {1.0}
    assert {(row["engine"], row["batch_size"]) for row in result["worst"]} == {
        (path, size) for path in _fastverify.PATHS for size in (1, 10)
    }


def test_challenge(out: Path, node: Site) -> None:
    result = run(out, "challenge", *SECS, "--connections", "50", "--rate", "100", *at(node))
    assert [each["loop"] for each in result["runs"]] == ["closed", "at once", "open"]
    assert [each["requests"] for each in result["runs"][1:]] == [50, 20]
    assert result["settings"]["postgresql"]["synchronous_commit"] == "on"
    assert result["settings"]["postgresql"]["fsync"] == "on"


def test_submit_at_a_rate(out: Path, node: Site) -> None:
    result = run(out, "submit", "--seconds", "1", "--rate", "200", "--batch-size", "20", "--dids", "3", *at(node))
    [found] = result["runs"]
    assert (found["loop"], found["rate"], found["requests"]) == ("open", 10.0, 10)
    assert found["audit"]["accepted"] == 200
    assert found["cpu_us_per_receipt"] is None  # the processes are not the bench's


def test_submit_protobuf_with_bad_receipts_in_a_closed_loop(out: Path, node: Site) -> None:
    mixed = ["--invalid", "0.3", "--replayed", "0.3", "--protobuf", "--closed", "--batch-size", "30"]
    [found] = run(out, "submit", *SECS, *mixed, *at(node))["runs"]
    assert found["encoding"] == "protobuf"
    assert set(found["audit"]["rejected"]) == {"invalid_signature", "duplicate_nonce"}


def test_submit_finds_the_highest_rate(out: Path, node: Site) -> None:
    result = run(out, "submit", "--find-max", *SECS, "--dids", "5", *at(node))
    labels = [each["label"].split(" at ")[0] for each in result["runs"]]
    assert labels[0] == "closed loop for a first guess"
    assert set(labels[1:]) == {"probe", "confirmation"}
    last = result["runs"][-1]
    assert result["max_receipts_per_sec"] == pytest.approx(last["rate"] * 100 if holds(last) else 0.0)


def test_a_search_goes_on_where_its_first_guess_saw_no_answer(node: Site) -> None:
    mix = Mix(1, batch_size=1, dids=1)
    runs, _rate = find_max(node, make_clients(node.base, 1), mix, 1, 0.0005)
    assert runs[0]["receipts_per_sec"] == 0
    assert {run["label"].split(" at ")[0] for run in runs[1:]} == {"probe", "confirmation"}


def test_submit_without_a_database_is_not_audited(node: Site, out: Path) -> None:
    done = CliRunner().invoke(main, ["submit", *SECS, "--rate", "100", "--url", node.base, "--out", str(out / "no")])
    assert done.exit_code == 0, done.output
    [written] = (out / "no").glob("*.json")
    assert json.loads(written.read_text())["runs"][0]["audit"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--database", "postgresql:///x"],
        ["submit", "--url", "http://127.0.0.1:1", "--set", "workers=1"],
        ["submit", "--find-max", "--closed"],
        ["submit", "--batch-size", "1", "--replayed", "0.5"],
        ["submit", "--set", "workers"],
        ["report", "pyproject.toml"],
    ],
)
def test_contradictions_are_refused_before_anything_starts(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert "Traceback" not in done.output


def test_peak(out: Path, node: Site) -> None:
    [found] = run(out, "peak", *SECS, "--rate", "500", *at(node))["runs"]
    assert (found["loop"], found["rate"]) == ("open", 5.0)


def test_soak(out: Path, node: Site) -> None:
    result = run(out, "soak", "--hours", "0.002", "--every", "0.2", "--round", "0.3", "--rate", "500", *at(node))
    assert len(result["runs"]) >= 2
    assert len(result["samples"]) >= 3
    assert result["growth"]["tables"]["receipts"]["table_bytes"] > 0
    assert result["growth"]["database_bytes_per_receipt"] > 0
    assert result["growth"]["database_connections"]["last"] >= 1


def test_workers_starts_nodes_of_its_own(out: Path) -> None:
    result = run(out, "workers", "--workers", "1", "--threads", "1", "--rounds", "1", *SECS)
    assert result["recommended"]["workers"] == result["recommended"]["verify_threads"] == 1
    assert result["settings"]["site"]["POUW_WORKERS"] == "1"
    assert result["rows"][0]["cpu_us_per_receipt"] > 0


def test_peers_take_turns(out: Path, servers: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the servers of all tests, which saves starting others."""
    monkeypatch.setattr(site, "servers", lambda _settings: nullcontext(servers))
    result = run(out, "peers", "--rounds", "2", "--seconds", "1", "--load", "batches of 100", "--load", "challenges")
    assert [each["site"] for each in result["runs"]] == ["node", "peer"] * 4
    assert [row["label"] for row in result["rows"]] == ["batches of 100", "challenges"]
    for row in result["rows"]:
        assert row["ratio"] == pytest.approx(row["node"] / row["peer"])
    assert set(result["settings"]) == {"node", "peer"}


def test_the_peer_refuses_what_a_node_refuses(servers: LocalServers) -> None:
    """So that it does the work that it is compared by: signatures, replays within and between batches, bindings."""
    with site.peer(servers) as peer:
        clients = make_clients(peer.base, 4)
        mixed = sign(clients, Mix(20, 50, 4, invalid=0.2, replayed=0.2))
        load = Load("mixed", 4, None, site="peer")
        assert measure.submit(peer, load, mixed)["audit"]["ok"]
        with Generator(peer.base, 1) as generator:
            again = generator.run(mixed[:2], rate=None, progress=False)
            strangers = make_clients(peer.base, 2)
            swapped = [
                type(mine)(mine.seed, mine.public_key, mine.did, other.task_id, mine.challenge_nonce)
                for mine, other in (strangers, reversed(strangers))
            ]
            unbound = generator.run(sign(swapped, Mix(2, 10)), rate=None, progress=False)
    details = [{each["detail"] for each in json.loads(answer.body)["rejected"]} for answer in again.answers]
    assert all(each <= {"duplicate_nonce", "invalid_signature"} for each in details)
    assert [json.loads(answer.body)["accepted"] for answer in [*again.answers, *unbound.answers]] == [[]] * 4
    assert {each["detail"] for each in json.loads(unbound.answers[0].body)["rejected"]} == {"invalid_challenge_binding"}


def test_close(out: Path) -> None:
    assert run(out, "close", "--receipts", "2000", "--dids", "10")["seconds"] > 0


def test_all_is_made_of_commands_that_take_their_arguments() -> None:
    for command, arguments in everything.steps(1.0):
        assert command.make_context(command.name, arguments)


def test_report_and_compare(out: Path) -> None:
    """After the commands above: one page, which needs nothing from the network."""
    done = CliRunner().invoke(main, ["report", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "<table" in page
    for outside in ("src=", "<link", "<script", "@import", "url(http"):
        assert outside not in page
    for title in ("Performance Baselines", "Challenge latency P50", "Targets", "Worker sweep", "Verify engines"):
        assert title in page
    files = sorted(out.glob("submit-*.json"))
    done = CliRunner().invoke(main, ["compare", str(files[0]), str(files[0])], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "(1.000)" in done.output
    assert "differs" not in done.output


@pytest.fixture(params=[MIXED], ids=["mixed"])
def submitted(node: Site, request: pytest.FixtureRequest) -> Iterator[tuple[str, dt.datetime, Corpus, list[Answer]]]:
    """A run whose audit is right before a test spoils it; what it leaves is taken away."""
    assert node.database is not None
    corpus = sign(make_clients(node.base, 2), request.param)
    since = audit.mark(node.database)
    with Generator(node.base, 2) as generator:
        answers = generator.run(corpus, rate=None, progress=False).answers
    assert audit.audit(node.database, since, corpus, answers)["ok"]
    yield node.database, since, corpus, answers
    with psycopg.connect(node.database, autocommit=True) as connection:
        for table in ("receipts", "batches", "rejections"):
            connection.execute(f"DELETE FROM {table} WHERE submitted_at > %s".encode(), (since,))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        ("DELETE FROM receipts WHERE id = (SELECT max(id) FROM receipts)", "1 receipts are accepted and not stored"),
        (
            """INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                     result_ok, body, signature, submitted_at)
               SELECT batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok,
                      body, signature, submitted_at
               FROM receipts WHERE id = (SELECT max(id) FROM receipts)""",
            "1 receipts are stored twice",
        ),
        (
            """UPDATE receipts SET receipt_nonce = sha256('strange') WHERE id = (SELECT max(id) FROM receipts)""",
            "1 receipts are stored and never accepted",
        ),
        (
            "UPDATE batches SET accepted = accepted + 1 WHERE id = (SELECT max(id) FROM batches)",
            "accepted receipts by the table batches",
        ),
        (
            "DELETE FROM batches WHERE id = (SELECT max(id) FROM batches)",
            "batches: 5 in the database, 6 in",
        ),
        ("DELETE FROM rejections WHERE id = (SELECT max(id) FROM rejections)", "rejections with"),
    ],
)
def test_the_audit_finds(submitted: tuple[str, dt.datetime, Corpus, list[Answer]], spoil: str, fault: str) -> None:
    database, since, corpus, answers = submitted
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(spoil.encode())
    found = audit.audit(database, since, corpus, answers)
    assert not found["ok"]
    assert any(fault in each for each in found["faults"]), found["faults"]


@pytest.mark.parametrize(
    "submitted",
    [MIXED, Mix(2, 10, replayed=1.0), Mix(2, 10, invalid=1.0, replayed=1.0)],
    ids=["mixed", "one receipt repeated", "one wrong receipt repeated"],
    indirect=True,
)
def test_the_audit_knows_that_an_unanswered_batch_may_be_stored(
    submitted: tuple[str, dt.datetime, Corpus, list[Answer]],
) -> None:
    database, since, corpus, answers = submitted
    for unanswered, answer in enumerate(answers, 1):
        answer.status, answer.body = 0, b""
        found = audit.audit(database, since, corpus, answers)
        assert (found["ok"], found["unanswered"]) == (True, unanswered), found


def test_a_run_whose_audit_fails_exits_non_zero(out: Path, node: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are taken away between the run and its audit."""
    assert node.database is not None
    real = audit.audit

    def rob(database: str, since: dt.datetime, *rest: Any, **named: Any) -> dict[str, Any]:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("DELETE FROM receipts WHERE submitted_at > %s", (since,))
        return real(database, since, *rest, **named)

    monkeypatch.setattr(audit, "audit", rob)
    done = CliRunner().invoke(main, ["submit", *SECS, "--rate", "500", *at(node), "--out", str(out / "robbed")])
    assert done.exit_code == 1
    assert "FAILED" in done.output
    [written] = (out / "robbed").glob("*.json")
    assert json.loads(written.read_text())["runs"][0]["audit"]["ok"] is False
