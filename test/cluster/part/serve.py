"""A part of the test app: says which instance and version it is, and asks the parts that it uses."""
import http.server
import json
import os
import socket
import urllib.request

me = {"instance": os.environ["STEAD_INSTANCE"], "version": open("version").read().strip()}


def solo():
    with urllib.request.urlopen(os.environ["SOLO_URL"], timeout=5) as answer:
        return json.load(answer)


def ledger():
    host, port = os.environ["LEDGER_ADDRESS"].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as stream:
        return stream.makefile().readline().strip()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ask = {"/solo": solo, "/ledger": ledger}.get(self.path)
        body = json.dumps({**me, **({"asked": ask()} if ask else {})}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
