"""Recordings: what is in them, and that no disk does anything to a call."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.faults import Faults
from rtsr.bridge.leg import Leg, Speaker
from rtsr.bridge.recorded_track import MOST_WAITING_S, RecordedTrack
from rtsr.bridge.recorder import Recorder
from rtsr.bridge.recording_writer import MIB, MOST_NEW, RecordingWriter
from rtsr.errors import InvalidSetting
from rtsr.io.growing import GrowingFlac
from tests.bridge.test_media import Played
from tests.test_growing import files_of_at_most

pytestmark = pytest.mark.realtime

RATE, HOP = 48_000, 240
MOST_HOPS = round(MOST_WAITING_S * RATE / HOP)
ONES = np.ones(HOP, np.float32)


def recorder_in(folder: Path, **more) -> Recorder:
    return Recorder(BridgeSettings(record=str(folder), record_free_mib=0, **more), RATE // HOP, Faults())


def speaking(call: str = "c", room: str = "r", name: str = "") -> Leg:
    leg = Leg(call, room, Speaker("pcmu", 200, least_s=0.01), name=name)
    leg.joined = True
    return leg


def only(folder: Path, suffix: str = ".flac") -> Path:
    (found,) = (path for path in folder.iterdir() if path.suffix == suffix)
    return found


def writer_in(folder: Path, most_bytes: int = MIB, free_bytes: int = 0) -> RecordingWriter:
    return RecordingWriter(folder, most_bytes, free_bytes, Faults())


def track(file: str = "a.flac") -> RecordedTrack:
    return RecordedTrack(file, {}, RATE, HOP)


def test_a_track_holds_a_voice_plain_and_enhanced_and_two_are_aligned(generating, tmp_path: Path):
    noise = (0.1 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    recorder, played = recorder_in(tmp_path), Played(generating)
    assert recorder.writer
    legs = [played.leg(name, noise, codec="pcmu") for name in ("first", "second")]  # both say the same at the same time
    for leg in legs:  # and the second is recorded later
        recorder.join(leg)
        played.run(0.5)
    played.run(0.5)
    for leg in legs:
        recorder.leave(leg)
    recorder.writer.work()
    assert recorder.writer.finished == 2
    sounds, begins = [], []
    for leg in legs:
        sound, rate = soundfile.read(tmp_path / leg.recording.file, dtype="float32")
        assert (rate, leg.recording.lost) == (RATE, 0)
        sounds.append(sound)
        begins.append(round(leg.recording.stats()["begins_s"] * RATE))
    assert begins[1] - begins[0] == RATE // 2
    added = np.abs(np.fft.rfft(sounds[0][:, 1] - sounds[0][:, 0])) ** 2
    voice = np.abs(np.fft.rfft(sounds[0][:, 0])) ** 2
    hz = np.fft.rfftfreq(len(sounds[0]), 1 / RATE)
    assert added[hz > 4_200].sum() > 1e-4 * voice.sum(), "nothing was enhanced"
    assert added[hz < 3_000].sum() < 1e-3 * voice.sum(), "plain and enhanced are not aligned"
    common = sounds[0][RATE // 2 :, 0]
    lag = np.argmax(np.correlate(common, sounds[1][6_000:12_000, 0], "valid")) - 6_000
    assert lag == 0, "the tracks of a room are not aligned"


def test_missing_hops_are_silent_and_what_follows_is_in_its_place(tmp_path: Path):
    writer, one = writer_in(tmp_path), track()
    writer.add(one)
    for tick in range(10, 10 + MOST_HOPS + 100):  # the writer does not come
        one.put(tick, ONES / 4, ONES / 2)
    assert (len(one.waiting), one.lost, writer.lost) == (MOST_HOPS, 100, 100)
    writer.work()
    one.put(10 + MOST_HOPS + 100, ONES / 4, ONES / 2)
    one.ended = True
    writer.work()
    sound, _ = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert len(sound) == (MOST_HOPS + 101) * HOP
    assert not sound[MOST_HOPS * HOP : -HOP].any()
    assert sound[-1].tolist() == sound[0].tolist() == [0.25, 0.5]
    assert (one.stats()["lost_s"], one.stats()["begins_s"], one.stats()["error"]) == (0.5, 0.05, None)
    one.put(0, ONES, ONES)
    assert (not one.waiting, writer.tracks, writer.finished, writer.lost) == (True, 0, 1, 100)
    assert writer.bytes == (tmp_path / "a.flac").stat().st_size


def test_a_disk_that_hangs_holds_up_neither_the_clock_nor_the_end(null, tmp_path: Path, monkeypatch):
    recorder, played, answers, asked = recorder_in(tmp_path), Played(null), threading.Event(), threading.Event()
    write = GrowingFlac.write

    def hang(self: GrowingFlac, block: np.ndarray) -> None:
        asked.set()
        answers.wait(30)
        write(self, block)

    monkeypatch.setattr(GrowingFlac, "write", hang)
    assert recorder.writer
    recorder.start()
    leg = played.leg("a", np.zeros(80_000, np.float32), codec="pcmu")
    recorder.join(leg)
    played.run(0.1)
    assert asked.wait(5)
    played.run(MOST_WAITING_S + 0.5)
    assert leg.recording.lost >= 50
    assert max(played.media.tick_s) < 1
    monkeypatch.setattr("rtsr.bridge.recorder.FINISH_S", 0.1)
    began = time.monotonic()
    recorder.leave(leg)
    for number in range(MOST_NEW + 2):
        recorder.join(speaking(f"c{number}"))
    assert recorder.writer.failed == 2, "who comes meanwhile takes no more and more memory"
    recorder.stop()
    assert time.monotonic() - began < 3
    answers.set()
    recorder.writer._thread.join(10)
    assert only(tmp_path).stat().st_size > 0


def test_a_full_disk_ends_the_recording_alone_and_is_told_once(tmp_path: Path, caplog):
    caplog.set_level("INFO", "rtsr.bridge")
    writer, tracks = writer_in(tmp_path), [track("a.flac"), track("b.flac")]
    noise = (0.3 * np.random.default_rng(0).standard_normal((2, HOP))).astype(np.float32)
    for one in tracks:
        writer.add(one)
        for tick in range(400):
            one.put(tick, *noise)
    with files_of_at_most(50_000):
        writer.work()
    assert [one.stats()["error"] is not None for one in tracks] == [True, True]
    assert all("disk full" in one.why and not one.waiting for one in tracks)
    assert (writer.failed, writer.tracks, writer.finished) == (2, 0, 0)
    assert sum("recording failed" in line for line in caplog.messages) == 1
    assert not list(tmp_path.glob("*.flac"))


@pytest.mark.parametrize(
    ("spoil", "why", "finished"),
    [
        (lambda writer: setattr(writer, "_free_bytes", 1 << 60), "record_free_mib", 1),
        (lambda writer: setattr(writer, "_most_bytes", 10), "record_track_mib", 1),
        (lambda writer: shutil.rmtree(writer.folder), "No such file", 0),
    ],
    ids=["others need the disk", "long enough", "the folder is gone"],
)
def test_a_recording_ends_where_it_has_to(tmp_path: Path, spoil: Callable, why: str, finished: int):
    folder = tmp_path / "recordings"
    folder.mkdir()
    writer, one = writer_in(folder), track()
    writer.add(one)
    one.put(0, ONES, ONES)
    writer.work()
    spoil(writer)
    one.put(1, ONES, ONES)
    writer.work()
    assert why in one.stats()["error"]
    assert (writer.finished, writer.failed, writer.tracks) == (finished, 1, 0)
    if finished:
        assert soundfile.info(folder / "a.flac").frames >= HOP
    one.put(2, ONES, ONES)
    assert not one.waiting


def test_whatever_a_track_does_to_the_writer_the_others_go_on(tmp_path: Path):
    writer, broken, fine = writer_in(tmp_path), track("broken.flac"), track("fine.flac")
    writer.add(broken)
    writer.add(fine)
    broken.waiting.append((0, "no sound"))
    fine.put(0, ONES, ONES)
    fine.ended = True
    writer.work()
    assert broken.done
    assert broken.why
    assert writer._faults.counts["recording"] == 1
    assert soundfile.info(tmp_path / "fine.flac").frames == HOP


def test_who_says_nothing_leaves_no_file(tmp_path: Path):
    recorder, leg = recorder_in(tmp_path), speaking()
    recorder.join(leg)
    recorder.join(Leg("listens", "r"))
    recorder.leave(leg)
    assert recorder.writer
    recorder.writer.work()
    assert (list(tmp_path.iterdir()), recorder.writer.tracks, leg.recording.done) == ([], 0, True)


@pytest.mark.parametrize("bad", ["../x", "a/b", "a\0", "", ".", "a" * 65, "a\n"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, bad: str):
    recorder = recorder_in(tmp_path)
    for leg in (speaking(room=bad), speaking(call=bad)):
        with pytest.raises(InvalidSetting, match="letters, digits"):
            recorder.join(leg)
    leg = speaking(name=f"../../{bad}\ud800\r\n")
    recorder.join(leg)
    assert "/" not in leg.recording.file
    assert leg.recording.tags["artist"].isprintable()
    leg.recording.put(0, ONES, ONES)
    recorder.leave(leg)
    assert recorder.writer
    recorder.writer.work()
    assert only(tmp_path).name == leg.recording.file


def test_a_room_is_recorded_where_somebody_asked(tmp_path: Path):
    recorder, leg = recorder_in(tmp_path, record_on_request=True), speaking()
    recorder.join(leg)
    assert (recorder.records("r"), leg.recording) == (False, None)
    recorder.choose("r", [leg, Leg("listens", "r")], True)
    first = leg.recording
    recorder.choose("r", [leg], True)
    assert (recorder.records("r"), recorder.records("other"), leg.recording is first) == (True, False, True)
    recorder.choose("r", [leg], False)
    assert (recorder.records("r"), first.ended) == (False, True)
    recorder.choose("r", [leg], True)
    assert leg.recording is not first
    assert leg.recording.file != first.file
    recorder.forget("r")
    assert not recorder.records("r")


def test_nothing_is_recorded_unless_the_settings_say_so(tmp_path: Path):
    recorder, leg = Recorder(BridgeSettings(), 200, Faults()), speaking()
    recorder.join(leg)
    recorder.start()
    recorder.stop()
    assert (recorder.records("r"), leg.recording) == (False, None)
    with pytest.raises(InvalidSetting, match="expected a folder"):
        recorder.choose("r", [leg], True)
    with pytest.raises(InvalidSetting, match="a folder that can be written to"):
        recorder_in(tmp_path / "none")
