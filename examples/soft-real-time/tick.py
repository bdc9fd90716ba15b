"""A soft real-time part: wakes in every period, and tells at the end how late it woke.

The period is what it was given (STEAD_PERIOD_US), or 5 ms. It prints one line of JSON: microseconds between the moment it
was due and the moment it ran, and how many periods it missed altogether.
"""

import gc
import json
import os
import sys
import time


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    period_ns = int(os.environ.get("STEAD_PERIOD_US", "5000")) * 1000
    count = int(seconds * 1e9 / period_ns)
    # Nothing of its own is to come in between.
    gc.disable()
    late_ns = [0] * count
    start = time.monotonic_ns()
    for index in range(count):
        due = start + (index + 1) * period_ns
        wait = due - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        late_ns[index] = time.monotonic_ns() - due
    ordered = sorted(late_ns)

    def at(share: float) -> float:
        return round(ordered[min(count - 1, int(share * count))] / 1000, 1)

    missed = sum(1 for late in late_ns if late > period_ns)
    print(json.dumps({
        "policy": policy(),
        "periods": count,
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "p99.9_us": at(0.999),
        "max_us": at(1),
        "missed": missed,
    }))


def policy() -> str:
    """What the kernel says of this thread."""
    names = {0: "other", 1: "fifo", 2: "round robin", 3: "batch", 5: "idle", 6: "deadline"}
    return names.get(os.sched_getscheduler(0) & 0xFF, "unknown")


main()
