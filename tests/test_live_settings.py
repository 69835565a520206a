"""LiveSettings and names of devices: what of `rtsr live` needs no sound."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rtsr.cli.live import with_default_names
from rtsr.daemon.config import Launch, LiveSettings, make_settings
from rtsr.errors import InvalidSetting
from rtsr.io.device import explain
from rtsr.io.devices import OWNER, Device, find_device
from rtsr.io.virtual import HOLDER, MARK, Virtual, new_mark, remove_stale


def test_options_override_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "rtsr.toml"
    path.write_text('[live]\ngain_db = -3\ninput = "a"\ncutoff = 3400\n')
    settings = make_settings(path, {"input": "b", "output": None})
    assert (settings.gain_db, settings.input, settings.output, settings.cutoff) == (-3, "b", None, 3400)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[live]\ngain = 3", "no setting named 'gain'; did you mean 'gain_db'"),
        ("[life]\n", "no table named 'life'; did you mean 'live'"),
        ("live = 3", "expected a table"),
        ("[live]\nrate = 8000", "rate: expected 16000 to 192000, got 8000"),
        ("[live]\nrate = 48000.5", "rate: expected int"),
        ("[live]\ngain_db = true", "gain_db: expected float"),
        ("[live]\ninput = 3", "input: expected str"),
        ('[live]\nhost = "jak"', "did you mean 'jack'"),
        ('[live]\nworker = "nativ"', "did you mean 'native'"),
        ('[live]\nworker = "native"\nbackend = "ort"', "native-float32 or auto with the native worker"),
        ('[live]\ncutoff = "low"', "cutoff: expected 'auto'"),
        ("[live", "is no TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_what_is_right(tmp_path, text, word):
    path = tmp_path / "rtsr.toml"
    path.write_text(text)
    with pytest.raises(InvalidSetting) as caught:
        make_settings(path, {})
    assert str(caught.value).startswith(str(path))
    assert word in str(caught.value)


def test_a_file_that_is_not_there_is_said():
    with pytest.raises(InvalidSetting, match=r"/nowhere.toml: cannot be read"):
        make_settings(Path("/nowhere.toml"), {})


def test_a_smart_filter_is_a_virtual_device():
    with pytest.raises(InvalidSetting, match="smart: expected virtual_mic or virtual_speaker"):
        LiveSettings(smart=True)
    paths = LiveSettings(smart=True, virtual_mic="m", virtual_speaker="s").paths()
    assert [path.smart for path in paths.values()] == [True, True]


def test_both_virtual_devices_are_two_paths():
    paths = LiveSettings(virtual_mic="m", virtual_speaker="s", input="i", output="o").paths()
    assert set(paths) == {"microphone", "speaker"}
    assert (paths["microphone"].input, paths["microphone"].output) == ("i", None)
    assert (paths["speaker"].input, paths["speaker"].output) == (None, "o")
    assert LiveSettings().paths() == {"voice": LiveSettings()}


def test_sizes_follow_the_host():
    settings = LiveSettings(low_water_ms=10.0, block_ms=5.0)
    assert (settings.low_water, settings.block) == (480, 240)


@pytest.mark.parametrize(
    ("host", "low_water", "block"), [("sounddevice", 384, 120), ("pyaudio", 336, 120), ("jack", 336, 64)]
)
def test_a_host_has_sizes_of_its_own(host, low_water, block):
    settings = LiveSettings(host=host)
    assert (settings.low_water, settings.block) == (low_water, block)


def test_defaults_are_those_that_operations_md_documents():
    settings, launch = LiveSettings(), Launch("mark")
    assert (settings.rate, settings.gain_db, settings.sleep_db, settings.cutoff) == (48_000, 0.0, -70.0, "auto")
    assert (launch.again, launch.commands) == (False, {})


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("rate", 16_000, 192_000),
        ("block_ms", 1.0, 100.0),
        ("low_water_ms", 1.0, 300.0),
        ("gain_db", -120.0, 24.0),
        ("sleep_db", -200.0, 0.0),
        ("metrics", 0, 65_535),
    ],
)
def test_bounds_are_allowed_and_nothing_beyond_them(name, least, most):
    for value in (least, most):
        assert getattr(LiveSettings(**{name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(InvalidSetting, match=f"{name}: expected"):
            LiveSettings(**{name: value})


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        (["live", "--virtual-mic"], ["live", "--virtual-mic", "rtsr microphone"]),
        (["--virtual-mic", "x", "--rate", "1"], ["--virtual-mic", "x", "--rate", "1"]),
        (["--virtual-speaker", "--rate", "1"], ["--virtual-speaker", "rtsr speaker", "--rate", "1"]),
        ([], []),
    ],
)
def test_a_virtual_device_needs_no_name(given, filled):
    assert with_default_names(given) == filled


def test_a_device_is_found_by_name_part_or_default():
    devices = [
        Device("alsa_input.usb", "Headset", "input", "pulse", 0, 1, 48000, False),
        Device("alsa_input.pci", "Built-in", "input", "pulse", 0, 1, 48000, True),
        Device("alsa_output.pci", "Built-in", "output", "pulse", 0, 1, 48000, True),
    ]
    assert find_device("headset", "input", devices).name == "alsa_input.usb"
    assert find_device(None, "input", devices).name == "alsa_input.pci"
    with pytest.raises(Exception, match="fits 2 input devices"):
        find_device("alsa", "input", devices)
    with pytest.raises(Exception, match="no output device named 'Headset'"):
        find_device("Headset", "output", devices)


def test_a_virtual_device_bears_the_mark_of_its_path():
    virtual, mark = Virtual('My "mic"', "microphone"), new_mark()
    modules = virtual.modules(mark, 48000)
    assert virtual.name == "my_mic"
    assert [name for name, _ in modules] == ["module-null-sink", "module-remap-source"]
    assert all(MARK.search(arguments)[1] == mark for _, arguments in modules)


class Clearing:
    """A server whose modules somebody else is unloading at the same time; some marks have a connection."""

    def __init__(self, marks: dict[int, str], held: list[str]) -> None:
        self.modules, self.held, self.unloaded = marks, held, []

    def module_list(self) -> list[SimpleNamespace]:
        return [self.module_info(index) for index in self.modules]

    def module_info(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(index=index, argument=f"sink_properties={OWNER}={self.modules[index]}")

    def client_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in ("rtsr", *(f"{HOLDER}{mark}" for mark in self.held))]

    def module_unload(self, index: int) -> None:
        if index == 2:
            raise pytest.importorskip("pulsectl").PulseOperationFailed(index)
        self.unloaded.append(index)


def test_stale_devices_that_another_rtsr_clears_too_are_no_error():
    pytest.importorskip("pulsectl")
    pulse = Clearing({1: "gone", 2: "gone", 3: "gone", 4: "here"}, ["here"])
    assert remove_stale(pulse) == 2
    assert pulse.unloaded == [3, 1]


def test_what_has_the_number_of_a_stale_device_by_now_stays():
    pytest.importorskip("pulsectl")
    pulse = Clearing({1: "gone", 3: "gone"}, [])
    pulse.client_list = lambda: [pulse.modules.update({1: "new"})][:0]  # another rtsr cleared 1, and made its own
    assert remove_stale(pulse) == 1
    assert pulse.unloaded == [3]


def test_a_busy_device_is_said_with_what_to_do():
    busy = Device("hw", "hw", "output", "ALSA", 0, 2, 48_000, True)
    assert "another program holds it" in str(explain(OSError("Device unavailable [PaErrorCode -9985]"), busy, 48_000))
    assert "try --rate 48000" in str(explain(OSError("Invalid sample rate [PaErrorCode -9997]"), busy, 44_100))


def test_the_daemon_needs_no_torch():
    import subprocess

    code = "import sys, rtsr.daemon.child, rtsr.daemon.service, rtsr.cli.live; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
