"""Handles orders, one at a time: takes the goods out of stock and writes the invoice, or says that they are sold out.

Several workers may run: each order is locked by the one that handles it, and is handled in one transaction.
"""

import contextlib
import os
import signal
import sys
import time
from urllib.parse import unquote, urlsplit

import pg8000.exceptions
import pg8000.native

from invoices import put_invoice

PAUSE_SECONDS = 0.3
stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True


def connect():
    url = urlsplit(os.environ["DATABASE_URL"])
    return pg8000.native.Connection(
        user=unquote(url.username),
        password=unquote(url.password),
        host=url.hostname,
        port=url.port,
        database=url.path.lstrip("/"),
    )


def handle_one(db):
    """Handles the oldest order that nobody else is handling. Answers whether there was one."""
    db.run("BEGIN")
    rows = db.run(
        "SELECT o.id, o.product_id, o.quantity, o.customer, p.name, p.price_cents FROM orders o "
        "JOIN products p ON p.id = o.product_id WHERE o.status = 'received' "
        "ORDER BY o.id LIMIT 1 FOR UPDATE OF o SKIP LOCKED"
    )
    if not rows:
        db.run("COMMIT")
        return False
    order, product, quantity, customer, name, price_cents = rows[0]
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
    print(f"order {order}: {status}", flush=True)
    return True


def handle_orders():
    """Handles orders over one connection until it is lost or the worker is to stop."""
    with contextlib.closing(connect()) as db:
        print("waiting for orders", flush=True)
        while not stopping:
            if not handle_one(db):
                time.sleep(PAUSE_SECONDS)


def main():
    signal.signal(signal.SIGTERM, stop)
    while not stopping:
        try:
            handle_orders()
        except (OSError, pg8000.exceptions.InterfaceError) as error:
            # What was under way is undone by the database; the order is handled again.
            print(f"lost the database or the bucket: {error}", flush=True)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
