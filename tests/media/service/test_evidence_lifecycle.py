"""Starting, stopping and being watched."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from indelible.evidence.v1 import evidence_pb2
from psycopg.conninfo import conninfo_to_dict

from ledger.cli.main import indelible
from ledger.settings_reader import SettingsError
from media.settings import CallerSettings, EvidenceSettings
from sandbox.objects import Objects
from sandbox.processes import Process
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, running_evidence
from tests.service.serving import Service

pytestmark = pytest.mark.timeout(TEST_SECONDS)

# Who takes the clip over does not wait for its end.
LONG_LEASE = {"INDELIBLE_EVIDENCE_LEASE_SECONDS": "600"}


@pytest.fixture(scope="module")
def _own(tmp_path_factory: pytest.TempPathFactory, ledger: Service, objects: Objects) -> Iterator[Evidence]:
    with running_evidence(tmp_path_factory.mktemp("own"), ledger, objects) as running:
        yield running


@pytest.fixture
def own(_own: Evidence) -> Iterator[Evidence]:
    """A service that runs when the test begins, without a worker; the test may stop it."""
    if _own.process is None or _own.process.exit_code is not None:
        _own.serve()
    yield _own
    for worker in _own.workers:
        worker.stop()


def requests(evidence: Evidence) -> float:
    """How many extractions were asked for, as the metrics tell."""
    series = 'indelible_requests_total{code="OK",method="RequestExtraction"} '
    return sum(float(line.removeprefix(series)) for line in evidence.metrics().splitlines() if line.startswith(series))


def test_a_stopped_worker_gives_its_clip_back_and_another_makes_it(own: Evidence) -> None:
    worker = own.work(**LONG_LEASE)
    clip_id, worker = stopped_in_the_middle(own, worker)
    assert worker.exit_code == 0, own.log_tail()
    assert list((own.directory / "work").iterdir()) == []
    own.work()
    assert own.ended(clip_id).state == evidence_pb2.CLIP_STATE_PRESERVED


def stopped_in_the_middle(own: Evidence, worker: Process) -> tuple[str, Process]:
    """A clip that was being made when the worker was stopped; one that was made too fast to see it does not count."""
    for number in range(20):
        clip_id: str = own.request(f"given-back-{number}").clip.clip_id
        until = time.monotonic() + PATIENCE_SECONDS
        while (state := state_of(own, clip_id)) != evidence_pb2.CLIP_STATE_PRESERVED:
            if state in {evidence_pb2.CLIP_STATE_EXTRACTING, evidence_pb2.CLIP_STATE_STORING}:
                worker.stop()
                if state_of(own, clip_id) != evidence_pb2.CLIP_STATE_PRESERVED:
                    return clip_id, worker
                worker = own.work(**LONG_LEASE)
            assert time.monotonic() < until, own.log_tail()
            time.sleep(0.02)
    raise AssertionError("every clip was made before its worker could be stopped")


def state_of(own: Evidence, clip_id: str) -> int:
    state: int = own.call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip_id)).clip.state
    return state


def test_no_log_holds_a_secret_of_the_store_or_a_token(own: Evidence) -> None:
    process = own.process
    assert process is not None
    process.stop()
    own.environment["INDELIBLE_LOG_LEVEL"] = "debug"
    own.serve()
    own.work()
    clip = own.preserved("logged")
    link = own.call(
        "CreateDownloadLink", evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="clip.mp4")
    )
    assert "X-Amz-Signature" in link.url
    own.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id))
    own.export(clip.clip_id, own.directory / "clip.zip")
    logs = "".join(path.read_text() for path in own.directory.glob("*.log"))
    assert "debug" in logs
    assert own.environment["INDELIBLE_EVIDENCE_S3_SECRET_KEY"] not in logs
    passwords = {
        conninfo_to_dict(own.environment[f"INDELIBLE_EVIDENCE{part}_DSN"])["password"] for part in ("", "_WORKER")
    }
    for secret in (*passwords, (own.tokens / "acme.token").read_text(), "eyJ", "X-Amz", "Signature=", link.url):
        assert str(secret) not in logs


def test_notes_wait_for_a_token_and_are_told_once_there_is_one(own: Evidence) -> None:
    token = own.tokens / "acme.token"
    text = token.read_text()
    token.unlink()
    began = time.monotonic()
    own.work()
    clip = own.preserved("untold")
    assert clip.state == evidence_pb2.CLIP_STATE_PRESERVED
    assert "untold" not in [event["incident"] for event in own.events("clip.preserved")]
    token.write_text(text)
    # The pause before the next try has grown with the time without a token, and is at most as long.
    until = time.monotonic() + (time.monotonic() - began) + PATIENCE_SECONDS
    while "untold" not in [event["incident"] for event in own.events("clip.preserved")]:
        assert time.monotonic() < until, own.log_tail()
        time.sleep(0.3)


def test_the_service_stops_cleanly_and_tells_health_and_metrics_while_it_runs(own: Evidence) -> None:
    before = requests(own)
    own.request("counted")
    assert own.is_healthy()
    assert requests(own) == before + 1
    assert "indelible_database_up 1.0" in own.metrics()
    process = own.process
    assert process is not None
    process.stop()
    assert process.exit_code == 0, own.log_tail()


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        EvidenceSettings.from_environment({})
    named = {problem.partition(":")[0] for problem in refused.value.problems}
    assert named >= {
        "INDELIBLE_EVIDENCE_DSN", "INDELIBLE_EVIDENCE_WORKER_DSN", "INDELIBLE_EVIDENCE_SOURCES",
        "INDELIBLE_EVIDENCE_BUCKET", "INDELIBLE_EVIDENCE_LEDGER_TOKENS", "INDELIBLE_TOKEN_ISSUER",
        "INDELIBLE_TOKEN_AUDIENCE", "INDELIBLE_TOKEN_JWKS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INDELIBLE_EVIDENCE_LISTEN", "0.0.0.0:50052"),
        ("INDELIBLE_EVIDENCE_LISTEN", "nowhere"),
        ("INDELIBLE_EVIDENCE_JOBS", "0"),
        ("INDELIBLE_EVIDENCE_JOBS", "17"),
        ("INDELIBLE_EVIDENCE_LEASE_SECONDS", "-1"),
        ("INDELIBLE_EVIDENCE_S3_PROFILE", "floppy"),
        ("INDELIBLE_EVIDENCE_SOURCES", "/nonexistent/sources.toml"),
        ("INDELIBLE_EVIDENCE_WORK_DIRECTORY", "/nonexistent"),
        ("INDELIBLE_EVIDENCE_LEDGER_TOKENS", "/nonexistent"),
        ("INDELIBLE_EVIDENCE_DSN", "mysql://nonsense"),
        ("INDELIBLE_EVIDENCE_DSN", "postgresql://indelible_evidence_worker:x@127.0.0.1/indelible"),
        ("INDELIBLE_EVIDENCE_WORKER_DSN", "postgresql://indelible_evidence:x@127.0.0.1/indelible"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(evidence: Evidence, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"(?m)^{name}: "):
        EvidenceSettings.from_environment(evidence.environment | {name: value})


def test_a_caller_who_names_a_far_service_needs_its_authority() -> None:
    settings = CallerSettings.from_environment(
        {"INDELIBLE_EVIDENCE": "evidence.example:443", "INDELIBLE_TOKEN": "a.b.c"}
    )
    assert settings.address == "evidence.example:443"
    environment = {"INDELIBLE_EVIDENCE": "evidence.example:443", "INDELIBLE_TOKEN": "a.b.c"}
    done = CliRunner().invoke(indelible, ["clip", "list"], env=environment)
    assert done.exit_code == 2
    assert "INDELIBLE_EVIDENCE_CA" in done.stderr


def test_the_commands_of_a_caller_work_against_the_service(evidence: Evidence, tmp_path: Path) -> None:
    token = dict(evidence.headers())["authorization"].removeprefix("Bearer ")
    environment = {"INDELIBLE_EVIDENCE": evidence.address, "INDELIBLE_TOKEN": token}

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(indelible, ["clip", *arguments], env=environment)
        assert done.exit_code == code, done.output
        return done.output

    asked = ("request", "--source", "gate-1", "--incident", "typed", "--at", "2026-03-01T12:00:10Z")
    assert "created" in run(*asked, "--before", "1", "--after", "1")
    clip_id = evidence.request("typed").clip.clip_id
    evidence.ended(clip_id)
    assert "typed" in run("list", "--camera", "cam-gate-1", "--state", "preserved", "--not-held")
    assert "preserved" in run("get", clip_id)
    held = run("hold", clip_id, "--reason", "case 1", "--idempotency-key", "typed", "--json")
    assert '"held_in_the_store_too": true' in held
    assert "[CLIP_HELD]" in run("dispose", clip_id, "--reason", "x", "--yes", code=1)
    hold_id = evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip_id)).clip.holds[0].hold_id
    assert "closed" in run("lift", hold_id, "--reason", "closed")
    assert "stored and read back" in run("custody", clip_id)
    assert "url" in run("link", clip_id)
    assert "clip.mp4" in run("verify", clip_id)
    assert "not_needed" in run("restore", clip_id)
    assert "governance" in run("retention")
    assert "belong together" in run("retention", "--days", "3", code=2)
    bundle = tmp_path / "clip.zip"
    assert "bytes" in run("export", clip_id, "--out", str(bundle))
    assert "is not overwritten" in run("export", clip_id, "--out", str(bundle), code=2)
    assert "[CLIP_NOT_FOUND]" in run("get", "00000000-0000-4000-8000-000000000000", code=1)
    environment["INDELIBLE_EVIDENCE"] = "127.0.0.1:9"
    assert "cannot be reached" in run("list", code=3)
