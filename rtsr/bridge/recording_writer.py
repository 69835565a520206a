"""The thread that writes recordings. Nothing waits for it: neither the media thread nor the event loop."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path

import numpy as np

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio
from ..io.growing import GrowingFlac
from .faults import Faults
from .log import log_event
from .recorded_track import CHANNELS, RecordedTrack

PERIOD_S = 0.25  # between two looks at what is to be written
MIB = 1 << 20
MOST_NEW = 32  # tracks that wait for a disk that does not answer
MOST_SILENCE = 1 << 18  # samples that are written at a time where hops are missing


class RecordingWriter:
    """Writes tracks into one folder, each up to `most_bytes`, while `free_bytes` of its disk are free.

    A track that cannot be written any further says `why`, and takes nothing more. `start`, `stop` and `add` are the
    event loop's, `work` is the thread's, and counters are read by anyone.
    """

    def __init__(self, folder: Path, most_bytes: int, free_bytes: int, faults: Faults) -> None:
        self.folder, self._most_bytes, self._free_bytes, self._faults = folder, most_bytes, free_bytes, faults
        self.finished = self.failed = 0  # tracks
        self.bytes = 0  # of finished files
        self._lost = 0  # hops of tracks that are done
        self._failing = False  # and that was logged
        self._new: deque[RecordedTrack] = deque()
        self._open: dict[RecordedTrack, GrowingFlac | None] = {}  # None until its first hop
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtsr recordings", daemon=True)

    def start(self) -> None:
        """Start the thread; raises RuntimeError where this machine has no more threads."""
        self._thread.start()

    def stop(self, limit_s: float) -> bool:
        """Finish all tracks and end the thread; returns False where the disk takes longer."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    def add(self, track: RecordedTrack) -> None:
        """Write a track until it has ended."""
        if len(self._new) >= MOST_NEW:
            track.done, track.why = True, "the disk does not answer"
            self.failed += 1
        else:
            self._new.append(track)

    @property
    def tracks(self) -> int:
        """How many are being written."""
        return len(self._open) + len(self._new)

    @property
    def lost(self) -> int:
        """Hops for which there was no room, as the disk was too slow."""
        return self._lost + sum(track.lost for track in (*list(self._open), *list(self._new)))

    def _run(self) -> None:
        while not self._ending.wait(PERIOD_S):
            self.work()
        self.work()

    def work(self) -> None:
        """Write what is there of every track; a failure of one is no failure of the others."""
        while self._new:
            self._open[self._new.popleft()] = None
        shortage = self._shortage() if self._open else ""
        for track in list(self._open):
            ended = track.ended or self._ending.is_set()  # read first: what comes afterwards is not waited for
            try:
                file = self._write(track) if track.waiting and not shortage else self._open[track]
                why = shortage
                if file and file.size > self._most_bytes:
                    why = f"it has reached {self._most_bytes // MIB} MiB (record_track_mib)"
                if file and (ended or why):
                    self.bytes += file.finish()
                    self.finished += 1
                if ended or why:
                    self._let_go(track, why)
            except Exception as error:
                if not isinstance(error, InvalidAudio):
                    self._faults.note("recording", "a track could not be recorded", error)
                if failed := self._open[track]:
                    failed.abandon()
                self._let_go(track, str(error))

    def _write(self, track: RecordedTrack) -> GrowingFlac:
        """Write what waits, and return the file."""
        file = self._open[track]
        if file is None:
            track.first = track.waiting[0][0]
            tags = {**track.tags, "comment": f"begins {track.first * track.hop / track.rate:.3f} s"}
            file = self._open[track] = GrowingFlac(self.folder / track.file, track.rate, CHANNELS, tags)
        for _ in range(len(track.waiting)):
            self._append(track, file, *track.waiting.popleft())
        return file

    @staticmethod
    def _append(track: RecordedTrack, file: GrowingFlac, tick: int, hop: FloatArray) -> None:
        """Write a hop at its time: what is missing before it is silent."""
        assert track.first is not None
        missing = (tick - track.first - track.hops) * track.hop
        while missing > 0:
            count = min(missing, MOST_SILENCE)
            file.write(np.zeros((count, CHANNELS), np.float32))
            missing -= count
        file.write(hop)
        track.hops = tick - track.first + 1

    def _shortage(self) -> str:
        """Return why nothing more may be written, or nothing."""
        try:
            disk = os.statvfs(self.folder)
        except OSError as error:
            return f"{self.folder}: {error.strerror}"
        if disk.f_bavail * disk.f_frsize < self._free_bytes:
            return f"{self.folder}: less than {self._free_bytes // MIB} MiB free (record_free_mib)"
        return ""

    def _let_go(self, track: RecordedTrack, why: str) -> None:
        """Take nothing more of a track; of failures in a row the first is logged."""
        del self._open[track]
        track.why, track.done = why, True
        track.lost += len(track.waiting)
        track.waiting.clear()
        self._lost += track.lost
        self.failed += bool(why)
        if why and not self._failing:
            log_event("recording failed", file=track.file, why=why)
        self._failing = bool(why)
