"""The page while a sweep runs: served on this machine's loopback, drawn from the facts of the moment."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from isoscale._report.findings import ReportFacts
from isoscale._report.html import Html, hashed, tag
from isoscale._report.page import render
from isoscale._report.theme import variables
from isoscale._report.vendored import asset

LOOPBACK = "127.0.0.1"
_NAMES = frozenset({LOOPBACK, "localhost"})
RENEW = 10


class Moment(NamedTuple):
    """What there is to show now. `facts` are None before the first verdict; `status` says how far the sweep is;
    a page that is not `complete` asks for itself again after a few seconds."""

    facts: ReportFacts | None
    status: str
    complete: bool


def live_page(moment: Moment) -> str:
    """The page's text at this moment: the report under a line that says how far the sweep is."""
    renew = None if moment.complete else RENEW
    if moment.facts is not None:
        return render(moment.facts, status=moment.status, renew=renew)
    style = variables() + asset("page.css")
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=f"default-src 'none'; style-src {hashed(style)}"),
        *((tag("meta", http_equiv="refresh", content=str(renew)),) if renew else ()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "Too early to say"),
        Html(f"<style>{style}</style>"),
    )
    words = "A verdict needs finished runs at three sizes and two seeds; this page shows it as soon as there is one."
    body = tag(
        "header",
        tag("h1", "Too early to say"),
        tag("p", moment.status, role="status"),
        tag("p", words, class_="lead"),
        class_="first",
    )
    return "<!doctype html>\n" + tag("html", tag("head", *head), tag("body", body), lang="en") + "\n"


def server(moment: Callable[[], Moment], port: int = 0) -> ThreadingHTTPServer:
    """A server of `/` on 127.0.0.1:`port` (0: any free one), not yet serving: call `serve_forever()`.

    It answers only requests that name this machine as their host, so that no site in the same browser can read it
    through a name of its own. `moment` is called once at a time. Raises OSError where the port is taken.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "isoscale", ""

        def do_GET(self) -> None:
            if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
                self._answer(421, "this page is for this machine only: ask for it by 127.0.0.1 or localhost")
            elif self.path.partition("?")[0] != "/":
                self._answer(404, "there is one page here: /")
            else:
                try:
                    with lock:
                        text = live_page(moment())
                except (ValueError, OSError, LookupError) as error:
                    self._answer(503, f"{error}")
                else:
                    self._answer(200, text, "text/html")

        def _answer(self, code: int, text: str, kind: str = "text/plain") -> None:
            body = text.encode()
            self.send_response(code)
            for name, value in (
                ("Content-Type", f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: the terminal is the sweep's."""

    return ThreadingHTTPServer((LOOPBACK, port), Handler)
