"""Where everything lies in the block of memory that two audio threads and a worker share in a live session.

It is one block, so that a native callback needs one pointer: the head (int64), the levels (float32), the input ring
and the output ring (float32). On Linux a semaphore lies in the head: `capture` posts it where a hop is there, and the
worker sleeps on it. A device that stood still comes back with a burst of blocks, as every driver does that catches up
with its clock; a worker that looks by the clock sleeps through it, one that is woken keeps up.

These numbers are compiled into `callbacks` and `learning`, which drop what they have cached where this file is newer.
"""

from __future__ import annotations

import sys

HAS_SEMAPHORE = sys.platform == "linux"  # elsewhere there are no semaphores without a name

# places in the head, int64; each thread writes to cache lines of its own
HEARD = 0  # samples ever captured; capture's
MADE, PLAYED = 8, 16  # samples ever written to and taken from the output ring, laid out as a Ring's marks
TAKEN = 24  # samples done with; the worker's
SHIFT, MUTED = 25, 26  # the worker's; SHIFT is the place in the input ring of sample 0 of the output ring
INPUT_SIZE, OUTPUT_SIZE, LOW_WATER, SLACK, FADE, HOP, RATE, LATE = range(32, 40)  # fixed before the start
CAPTURE_CALLS, CAPTURE_XRUNS = 40, 41  # capture's
PLAY_CALLS, PLAY_XRUNS, FLOWING, PLACE = 48, 49, 50, 51  # play's; PLACE is in the input ring, of the next plain sample
WORKER_UNDERRUNS, INPUT_UNDERRUNS, MISSED, TRIMMED, SPARE, RESUMED = range(52, 58)
WAITED, HELD, LEARNING, UNSETTLED = range(58, 62)
SOURCE = 62  # of the samples that are played now
MOST_SPARE, MORE_SPARE = 63, 64  # of the parts of the learning second: the most, and the second most
START, CHANNELS_IN, CHANNELS_OUT = 72, 73, 74  # fixed when a device is opened
SEMAPHORE = 80
HEAD = 88

# places among the levels, float32
LAST, TAIL, MIX, PEAK_IN, PEAK_OUT = 0, 1, 2, 8, 9
LEVELS = 16

NONE, PLAIN, ENHANCED = 0, 1, 2  # sources
