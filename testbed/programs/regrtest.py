"""CPython's tests, as `python3 -m test` runs them; at their end writes to the file named first whether liblinger is there:
`absent`, or what linger_shim_active() and the first counter of linger_stats() say."""

import os
import sys


def presence():
    import ctypes

    program = ctypes.CDLL(None)
    if not hasattr(program, "linger_shim_active"):
        return "absent"
    # struct linger_stats: its own size, then counters of 64 bits, connections that lingered first.
    statistics = (ctypes.c_uint64 * 13)(13 * 8)
    if program.linger_stats(statistics) != 0:
        raise SystemExit("linger_stats() failed")
    return f"{program.linger_shim_active()} {statistics[1]}"


if __name__ == "__main__":
    file = os.path.abspath(sys.argv.pop(1))
    this_process = os.getpid()
    from test.libregrtest import main

    try:
        main()
    finally:
        # Children that a test forked come by here, too.
        if os.getpid() == this_process:
            with open(file, "w") as out:
                print(presence(), file=out)
