"""Notes, in memory and a file.

All notes are in memory. A new one is appended to a journal before it is acknowledged; `notes.json` is a whole picture with
a checksum, written at a checkpoint, and the journal begins anew with it. Notes = picture, then journal.

Invariant: whatever is cut off at any moment, picture and journal together hold every note that was acknowledged.
"""

import hashlib
import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

DIR = os.environ["STEAD_STATE_DIR"]
PICTURE = os.path.join(DIR, "notes.json")
JOURNAL = os.path.join(DIR, "journal")
# How the hooks reach the service: a name that only programs in its own network see.
CONTROL = "\0notes-" + os.environ.get("STEAD_INSTANCE", "")


class Damaged(Exception):
    """The files are not what was written. Its text is for a person."""


def digest(notes):
    return hashlib.sha256(json.dumps(notes).encode()).hexdigest()


def load():
    """The notes that are in the files. A last line that was cut off was never acknowledged."""
    notes = []
    if os.path.exists(PICTURE):
        with open(PICTURE, encoding="utf-8") as file:
            try:
                picture = json.load(file)
                notes = picture["notes"]
                whole = picture["sha256"] == digest(notes)
            except (ValueError, KeyError, TypeError) as error:
                raise Damaged(f"notes.json cannot be read: {error}") from error
        if not whole:
            raise Damaged("notes.json does not have its checksum")
    if os.path.exists(JOURNAL):
        with open(JOURNAL, "rb") as file:
            lines = file.read().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                checksum, text = line.decode().split(" ", 1)
                note = json.loads(text)
            except ValueError as error:
                raise Damaged(f"line {number} of the journal cannot be read") from error
            if checksum != digest(note)[:16]:
                raise Damaged(f"line {number} of the journal does not have its checksum")
            # A picture may have been made of notes that are still in the journal.
            if note not in notes:
                notes.append(note)
    return notes


def save(notes):
    """Writes a whole picture, then begins the journal anew. Cut off between the two, the journal only says some notes twice."""
    with open(PICTURE + ".new", "w", encoding="utf-8") as file:
        json.dump({"notes": notes, "sha256": digest(notes)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(PICTURE + ".new", PICTURE)
    with open(JOURNAL, "wb") as file:
        os.fsync(file.fileno())
    directory = os.open(DIR, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


class Notes:
    """The notes of a service that runs."""

    def __init__(self):
        self.notes = load()
        save(self.notes)
        self.journal = open(JOURNAL, "ab", buffering=0)
        self.may_write = threading.Condition()
        self.held_until = 0.0

    def add(self, note):
        with self.may_write:
            # The pause has an end of its own: whoever asked for it may have died.
            while (left := self.held_until - time.monotonic()) > 0:
                self.may_write.wait(left)
            if note not in self.notes:
                self.journal.write(f"{digest(note)[:16]} {json.dumps(note)}\n".encode())
                self.notes.append(note)

    def hold(self, pause_ms):
        with self.may_write:
            self.held_until = time.monotonic() + pause_ms / 1000

    def resume(self):
        with self.may_write:
            self.held_until = 0.0
            self.may_write.notify_all()

    def flush(self):
        with self.may_write:
            self.journal.close()
            save(self.notes)
            self.journal = open(JOURNAL, "ab", buffering=0)


def listen_for_hooks(notes):
    server = socket.socket(socket.AF_UNIX)
    server.bind(CONTROL)
    server.listen()
    while True:
        connection, _ = server.accept()
        with connection:
            word, _, rest = connection.recv(100).decode().partition(" ")
            if word == "hold":
                notes.hold(int(rest))
            elif word == "resume":
                notes.resume()
            elif word == "flush":
                notes.flush()
            connection.sendall(b"done")


def tell(text):
    """Asks the service that runs to do something, and returns when it has."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(CONTROL)
        connection.sendall(text.encode())
        if connection.recv(100) != b"done":
            sys.exit(f"the service did not {text}")


def serve():
    notes = Notes()
    threading.Thread(target=listen_for_hooks, args=(notes,), daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, json.dumps(notes.notes))

        def do_POST(self):
            notes.add(unquote(self.path[1:]))
            self.answer(201, "")

        def answer(self, status, text):
            body = text.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()


def main(words):
    if words == ["serve"]:
        serve()
    elif words == ["hold"]:
        tell(f"hold {os.environ['STEAD_PAUSE_MS']}")
    elif words == ["hold", "resume"]:
        tell("resume")
    elif words == ["flush"]:
        tell("flush")
    elif words == ["reopen"]:
        save(load())
    elif words == ["check"]:
        print(f"{len(load())} notes, all with their checksums")
    else:
        sys.exit("usage: notes.py serve|hold [resume]|flush|reopen|check")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Damaged as error:
        sys.exit(str(error))
