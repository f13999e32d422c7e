# SPDX-License-Identifier: Apache-2.0
"""What guests fetch over their network."""
import http.server
import threading


def serve(body):
    """An HTTP server on the loopback that answers every GET with body; returns it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
