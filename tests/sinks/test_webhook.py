"""Webhooks: what is posted, when again, what never, and that the URL stays a secret."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import numpy as np
import pytest
from brokers import wait_until
from programs import edgecam

from edgecam.core.errors import SettingsError
from edgecam.core.events import Event, Insight
from edgecam.core.frame import Frame
from edgecam.core.result import Result
from edgecam.settings.credentials import read_webhook
from edgecam.settings.load import load
from edgecam.settings.webhook import WebhookSettings
from edgecam.sinks.webhook import delivery, sink
from edgecam.sinks.webhook.body import body_of
from edgecam.sinks.webhook.sink import Webhooks

SECRET = "/api/webhook/sesame-1234?token=open"
Answer = tuple[int, Mapping[str, str]]


class Receiver:
    """An HTTP server that keeps what is posted; ``answer`` says what it answers to the n-th."""

    def __init__(self, answer: Callable[[int], Answer] = lambda _: (200, {})) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(receiver.asked)
                receiver.asked.append((self.path, self.headers["Content-Type"], body))
                status, headers = answer(number)
                self.send_response(status)
                for key, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(key, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{SECRET}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def receiving() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(answer: Callable[[int], Answer] = lambda _: (200, {})) -> Receiver:
        made.append(Receiver(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def event(number: int, kind: str = "fall", label: str = "person") -> Event:
    return Event(kind, number, 3.0, 1_700_000_000.0, 1.0, 2.0, 7, label, 0.876, "door")  # type: ignore[arg-type]


def publish(hooks: Webhooks, *events: Event) -> None:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), 0, 0.0, 0.0)
    hooks.publish(Result(frame, {}, insight=Insight(events, {}, {}, None)))


def opened(url: str, **settings: object) -> Webhooks:
    hook = msgspec.convert({"name": "phone", **settings}, WebhookSettings)
    return Webhooks([(hook, url)], "front", "Front door", "boot")


def test_events_arrive_in_order_as_their_messages(receiving: Callable[..., Receiver]) -> None:
    receiver = receiving()
    hooks = opened(receiver.url, events=["fall", "recovered"])
    publish(hooks, event(1), event(2, "appeared"), event(3, "recovered"))
    hooks.close()
    assert [path for path, _, _ in receiver.asked] == [SECRET] * 2
    sent = [json.loads(body) for _, _, body in receiver.asked]
    assert [(each["event_type"], each["id"]) for each in sent] == [
        ("fall", "boot-1"),
        ("recovered", "boot-3"),
    ]
    assert hooks.counters() == {"webhook_lost": 0, "webhook_retries": 0, "webhook_sent": 2}


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (
            "application/json",
            '{"text": "$title: $event_type of \\"$label\\" in $zone", "s": $dwell_s}',
            b'{"text": "Front door: fall of \\"a \\"b\\" & c\\" in door", "s": 2.0}',
        ),
        ("application/x-www-form-urlencoded", "m=$label&t=$track", b"m=a+%22b%22+%26+c&t=7"),
        ("text/plain", "$$5 for $label at $time", b'$5 for a "b" & c at 2023-11-14T22:13:20+00:00'),
    ],
)
def test_a_body_of_own_words_is_filled_in_and_escaped(
    content_type: str, body: str, expected: bytes
) -> None:
    hook = msgspec.convert(
        {"name": "phone", "content_type": content_type, "body": body}, WebhookSettings
    )
    made = body_of(hook, event(1, label='a "b" & c'), b"{}", "front", "Front door", "boot")
    if content_type == "application/json":
        assert json.loads(made) == {"text": 'Front door: fall of "a "b" & c" in door', "s": 2.0}
    else:
        assert made == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"a": "$zonee"}', "found $zonee"),
        ('{"a": $zone}', "Expected a body of JSON"),
        ('{"a": "$"}', "$$ is a $"),
        ('{"a": "${track.__class__}"}', "$$ is a $"),
    ],
)
def test_a_body_that_could_never_be_sent_is_refused(body: str, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"name": "phone", "body": body}, WebhookSettings)
    assert words in str(refused.value)


def test_what_fails_is_sent_again_before_the_next(receiving: Callable[..., Receiver]) -> None:
    receiver = receiving(lambda number: ((503, 429, 200, 200)[number], {"Retry-After": "0"}))
    hooks = opened(receiver.url, body='{"id": "$id"}')
    publish(hooks, event(1), event(2))
    assert wait_until(lambda: hooks.counters()["webhook_sent"] == 2, 20)
    hooks.close()
    ids = [json.loads(body)["id"] for _, _, body in receiver.asked]
    assert ids == ["boot-1", "boot-1", "boot-1", "boot-2"]
    assert hooks.counters()["webhook_retries"] == 2


@pytest.mark.parametrize("host", ["a..b", "h" * 70, "..."])
def test_a_host_that_no_resolver_takes_is_a_fault_and_ends_nothing(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = opened(f"http://{host}{SECRET}", retries=0)
    publish(hooks, event(1), event(2))
    assert wait_until(lambda: hooks.counters()["webhook_lost"] == 2)
    hooks.close()
    assert f"webhook phone (http://{host}): an event was not sent: " in caplog.text
    assert "sesame" not in caplog.text


def test_tries_end(receiving: Callable[..., Receiver]) -> None:
    receiver = receiving(lambda _: (500, {}))
    hooks = opened(receiver.url, retries=2)
    publish(hooks, event(1))
    assert wait_until(lambda: hooks.counters()["webhook_lost"] == 1, 20)
    hooks.close()
    assert len(receiver.asked) == 3


def test_a_wrong_address_is_not_tried_again_and_its_secret_not_logged(
    receiving: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receiving(lambda _: (404, {}))
    with caplog.at_level(logging.DEBUG):
        hooks = opened(receiver.url)
        publish(hooks, event(1))
        assert wait_until(lambda: hooks.counters()["webhook_lost"] == 1, 20)
        hooks.close()
    assert len(receiver.asked) == 1
    assert "it answers 404" in caplog.text
    assert "webhook phone (http://127.0.0.1:" in caplog.text
    assert "sesame" not in caplog.text


def test_a_receiver_that_is_not_there_is_named_without_its_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks = opened(f"http://127.0.0.1:9{SECRET}", retries=0)
    publish(hooks, event(1))
    assert wait_until(lambda: hooks.counters()["webhook_lost"] == 1, 20)
    hooks.close()
    assert "no connection: " in caplog.text
    assert "sesame" not in caplog.text


def test_a_redirect_is_followed_on_the_same_host_alone(
    receiving: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    other = receiving()
    moved = receiving(lambda number: (307, {"Location": "/new"}) if number == 0 else (200, {}))
    away = receiving(lambda _: (307, {"Location": other.url}))
    for receiver, sent in ((moved, 1), (away, 0)):
        hooks = opened(receiver.url)
        publish(hooks, event(1))
        assert wait_until(lambda: sum(hooks.counters().values()) == 1, 20)  # noqa: B023
        hooks.close()
        assert hooks.counters()["webhook_sent"] == sent
    assert [path for path, _, _ in moved.asked] == [SECRET, "/new"]
    assert moved.asked[0][2] == moved.asked[1][2]
    assert other.asked == []
    assert "redirects to another host" in caplog.text


def test_the_oldest_goes_where_too_many_wait(receiving: Callable[..., Receiver]) -> None:
    going = threading.Event()

    def slow(_: int) -> Answer:
        going.wait(20)
        return 200, {}

    receiver = receiving(slow)
    hooks = opened(receiver.url, body='{"id": "$id"}', max_waiting=2)
    publish(hooks, event(0))
    assert wait_until(lambda: len(receiver.asked) == 1, 20)
    publish(hooks, *map(event, range(1, 6)))
    assert wait_until(lambda: hooks.counters()["webhook_lost"] == 3, 20)
    going.set()
    assert wait_until(lambda: hooks.counters()["webhook_sent"] == 3, 20)
    hooks.close()
    ids = [json.loads(body)["id"] for _, _, body in receiver.asked]
    assert ids == ["boot-0", "boot-4", "boot-5"]


def test_the_end_does_not_wait_for_a_receiver_that_does_not_answer(
    receiving: Callable[..., Receiver],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sink, "CLOSE_S", 0.1)
    going = threading.Event()
    receiver = receiving(lambda _: ((going.wait(30) and 200) or 200, {}))
    hooks = opened(receiver.url)
    publish(hooks, event(1), event(2))
    assert wait_until(lambda: len(receiver.asked) == 1, 20)
    hooks.close()
    going.set()
    assert hooks.counters()["webhook_lost"] == 2
    assert "2 events were not sent before the end" in caplog.text


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_url_comes_from_a_file_of_its_own_or_of_several(tmp_path: Path) -> None:
    own = written(tmp_path / "own", f"http://x{SECRET}\n")
    several = written(tmp_path / "several", f"a http://a/1\nphone http://x{SECRET}\n")
    for file in (own, several):
        found = read_webhook("phone", file, {})
        assert found is not None
        assert found.secret == f"http://x{SECRET}"
        assert SECRET not in repr(found)
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path), "INVOCATION_ID": "1"}
    written(tmp_path / "webhooks", "phone https://h/9\n", 0o440)
    found = read_webhook("phone", None, given)
    assert found is not None
    assert found.secret == "https://h/9"
    # The check before a reload is given no credentials.
    assert read_webhook("phone", None, {"INVOCATION_ID": "1"}) is None


def test_a_service_has_its_urls_beside_its_settings(tmp_path: Path) -> None:
    (tmp_path / "front.toml").write_text('[[webhook]]\nname = "phone"\n')
    written(tmp_path / "front.webhooks", f"phone http://x{SECRET}\n")
    settings = load(tmp_path / "front.toml", {}, {})
    assert settings.webhook[0].url_file == str(tmp_path / "front.webhooks")
    sink.check(settings)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"http://x{SECRET}", 0o644, "expected a file of mode 600"),
        (f"http://x{SECRET}", 0o640, "found mode 640; run chmod 600"),
        (f"ftp://x{SECRET}", 0o600, "expected a URL such as https://HOST/PATH"),
        (f"http://{SECRET}", 0o600, "expected a URL such as"),
        (f"http://a..b{SECRET}", 0o600, "expected a URL such as"),
        (f"http://b\u00fc..x{SECRET}", 0o600, "expected a URL such as"),
        (f"other http://x{SECRET}", 0o600, "to have a line with its URL"),
        ("", 0o600, "with its URL, found none"),
    ],
)
def test_a_file_that_will_not_do_is_refused_without_its_secret(
    tmp_path: Path, text: str, mode: int, words: str
) -> None:
    file = written(tmp_path / "url", text, mode)
    (tmp_path / "c.toml").write_text(f'[[webhook]]\nname = "phone"\nurl_file = "{file}"\n')
    with pytest.raises(SettingsError) as refused:
        sink.check(load(tmp_path / "c.toml", {}, {}))
    assert words in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_a_run_posts_its_events(receiving: Callable[..., Receiver], tmp_path: Path) -> None:
    receiver = receiving()
    file = written(tmp_path / "url", receiver.url)
    config = tmp_path / "c.toml"
    config.write_text(
        f'[[webhook]]\nname = "phone"\nurl_file = "{file}"\nevents = ["appeared"]\n'
        'body = \'{"text": "$title: $label $event_type"}\'\n'
    )
    arguments = ("--config", config, "--model", "ssdlite", "--source", "demo", "--max-frames", "20")
    events = tmp_path / "events"
    done = edgecam(*arguments, "--events", events)
    assert done.returncode == 0, done.stderr
    assert "sesame" not in done.stderr
    found = [json.loads(line) for line in events.read_text().splitlines()]
    appeared = [each for each in found if each["event_type"] == "appeared"]
    assert len(appeared) >= 2
    texts = [json.loads(body)["text"] for _, _, body in receiver.asked]
    assert texts == ["Edgecam camera: person appeared"] * len(appeared)
