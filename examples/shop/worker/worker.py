"""Handles orders: takes the goods out of stock and writes the invoice, or says that they are sold out.

The queue says which order to handle, at least once; the row of the order says whether that was done. Both happen in one
transaction, so hearing of an order twice does no harm. A message is acknowledged after its transaction has committed: a
worker that dies before that leaves it to the next one.
"""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import unquote, urlsplit

import pg8000.exceptions
import pg8000.native

from invoices import put_invoice

PAUSE_SECONDS = 0.3
WAIT_SECONDS = 20


class Stop(Exception):
    """The worker is to stop, and has nothing in hand."""


waiting = False
stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True
    # In the middle of an order it goes on to the end of it.
    if waiting:
        raise Stop


def queue(action, body):
    """Asks the queue of orders; answers what it says."""
    request = urllib.request.Request(
        f"{os.environ['QUEUE_ENDPOINT']}/{action}",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {os.environ['QUEUE_TOKEN']}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS + 10) as response:
        return json.load(response)


def receive():
    """The next message, or None when there was none for a while. Hanging up while waiting takes nothing along."""
    global waiting
    waiting = True
    try:
        if stopping:
            raise Stop
        messages = queue("receive", {"max": 1, "waitMs": WAIT_SECONDS * 1000})["messages"]
    finally:
        waiting = False
    return messages[0] if messages else None


def settle(message, decision, **more):
    queue("settle", {"settlements": [{"receipt": message["receipt"], "decision": decision, **more}]})


def connect():
    url = urlsplit(os.environ["DATABASE_URL"])
    return pg8000.native.Connection(
        user=unquote(url.username),
        password=unquote(url.password),
        host=url.hostname,
        port=url.port,
        database=url.path.lstrip("/"),
    )


def handle(db, order):
    """Handles an order, unless that was done. Answers what has become of it now, or None."""
    db.run("BEGIN")
    rows = db.run(
        "SELECT o.product_id, o.quantity, o.customer, p.name, p.price_cents FROM orders o "
        "JOIN products p ON p.id = o.product_id WHERE o.id = :order AND o.status = 'received' FOR UPDATE OF o",
        order=order,
    )
    if not rows:
        db.run("COMMIT")
        return None
    product, quantity, customer, name, price_cents = rows[0]
    taken = db.run(
        "UPDATE products SET stock = stock - :quantity WHERE id = :product AND stock >= :quantity RETURNING id",
        quantity=quantity,
        product=product,
    )
    status = "accepted" if taken else "sold-out"
    if taken:
        # Before the order is accepted: one that is has its invoice. One that is handled again writes the same.
        total = quantity * price_cents / 100
        put_invoice(f"{order}.txt", f"Invoice {order}\n\n{customer}\n{quantity} x {name}: {total:.2f}\n")
    db.run("UPDATE orders SET status = :status, handled_at = now() WHERE id = :order", status=status, order=order)
    db.run("COMMIT")
    return status


def handle_orders():
    """Handles orders over one connection until it is lost or the worker is to stop."""
    with contextlib.closing(connect()) as db:
        print("waiting for orders", flush=True)
        while not stopping:
            message = receive()
            if message is None:
                continue
            order = json.loads(message["text"])["order"]
            try:
                status = handle(db, order)
            except (OSError, pg8000.exceptions.InterfaceError):
                # Not the fault of the message: again in a second, and not counted.
                settle(message, "retry", delayMs=1000, countAsFailure=False)
                raise
            settle(message, "ack")
            print(f"order {order}: {status or 'was handled before'}", flush=True)


def main():
    signal.signal(signal.SIGTERM, stop)
    while not stopping:
        try:
            handle_orders()
        except Stop:
            break
        except (OSError, pg8000.exceptions.InterfaceError) as error:
            # What was under way is undone by the database; its message comes again, at the latest when the lease is over.
            what = error.read().decode() if isinstance(error, urllib.error.HTTPError) else error
            print(f"lost the database, the queue or the bucket: {what}", flush=True)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
