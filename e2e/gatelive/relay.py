"""Serves the gateway's statistics, and 503 while WORK/away is there: a metrics outage
that touches no traffic. Usage: relay.py WORK URL; its own URL goes into WORK/relay.
It ends with its parent, with WORK, or after six hours."""

import http.server
import os
import sys
import time
import urllib.request

work, source = sys.argv[1:]


class Relay(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists(os.path.join(work, "away")):
            self.send_error(503)
            return
        with urllib.request.urlopen(source, timeout=5) as page:
            body = page.read()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
with open(os.path.join(work, "relay"), "w") as out:
    out.write("http://127.0.0.1:%d/stats/prometheus" % server.server_port)
server.timeout = 1
parent, limit = os.getppid(), time.monotonic() + 6 * 3600
while os.getppid() == parent and os.path.isdir(work) and time.monotonic() < limit:
    server.handle_request()
