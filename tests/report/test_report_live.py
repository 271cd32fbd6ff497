"""The live page: loopback only, this machine's names only, renewed while the sweep runs, never more than one page."""

import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from isoscale._report.live import Moment, live_page, server


@contextmanager
def served(moment):
    with server(moment) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield serving.server_address
        finally:
            serving.shutdown()
            thread.join()


def ask(address, path="/", host=None):
    connection = HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{address[1]}"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def test_it_listens_on_loopback_and_answers_with_the_report(known) -> None:
    with served(lambda: Moment(known, "3 of 9 runs done.", False)) as address:
        assert address[0] == "127.0.0.1"
        status, headers, text = ask(address)
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert "3 of 9 runs done." in text
    assert 'http-equiv="refresh" content="10"' in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


def test_a_complete_sweep_is_not_asked_for_again(known) -> None:
    assert "refresh" not in live_page(Moment(known, "9 of 9 runs done.", True)).partition("<body>")[0]


def test_before_the_first_verdict_it_says_how_far_the_sweep_is() -> None:
    text = live_page(Moment(None, "<b>0</b> of 9 runs done.", False))
    assert "Too early to say" in text
    assert "&lt;b&gt;0&lt;/b&gt; of 9" in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:1", ""])
def test_a_page_reached_through_another_name_is_refused(known, host) -> None:
    with served(lambda: Moment(known, "", True)) as address:
        status, _, text = ask(address, host=host or "[::1]:1")
    assert status == 421
    assert known.title not in text


def test_there_is_one_page_and_a_failure_is_a_sentence(known) -> None:
    def broken():
        raise OSError("the store is gone")

    with served(lambda: Moment(known, "", True)) as address:
        assert ask(address, "/../../etc/passwd")[0] == 404
    with served(broken) as address:
        assert ask(address)[::2] == (503, "the store is gone")


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            server(lambda: Moment(None, "", True), taken.getsockname()[1])
