"""What a host saves of a plug-in and gives to another instance makes that one sound the same; and the second model.

CLAP's state is saved and restored by native/plugin/test_clap.cpp.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsr.net.weights import SHIPPED
from tests.native.test_plugins import BUILT, PLUGINS, latency, need, run
from tests.signals import narrowed, noise, voice_like
from tests.speech import missing

RATE = 48_000
X = narrowed(voice_like(2.0, RATE), RATE, 3800) + noise(2 * RATE, 1, 1e-4)
ASKED = {"amount": -6.0, "cutoff": 4000.0, "lv2_enabled": 1.0, "model": 1.0}
WARM, FADE = RATE // 2, RATE // 100  # of a model that is changed to


def test_vst3_in_pedalboard():
    path = need(PLUGINS / "vst3" / "rtsr.vst3")
    try:
        import pedalboard
    except ImportError:
        missing("pedalboard")
    first, second, fresh = (pedalboard.load_plugin(path) for _ in range(3))
    first.amount_db, first.cutoff_0_detects_hz, first.model = -6.0, 4000.0, "48 kHz, where installed"
    first.process(X[None, :RATE], RATE)  # a host hands settings over with a block
    second.raw_state = first.raw_state
    second.process(X[None, :RATE], RATE)
    assert second.cutoff_0_detects_hz == 4000
    assert second.amount_db == pytest.approx(-6, abs=0.05)
    assert second.model == "48 kHz, where installed"
    outs = [plugin.process(X[None], RATE)[0] for plugin in (first, second, fresh)]
    np.testing.assert_array_equal(outs[0], outs[1])
    assert np.abs(outs[0] - outs[2]).max() > 1e-4
    assert second.model_in_use_khz == 16


class Lilv:
    """The library that most LV2 hosts are built on, as far as it is needed to save and restore."""

    GET = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, *2 * [ctypes.POINTER(ctypes.c_uint32)])
    SET = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
    MAP = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_char_p)
    UNMAP = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)

    class Both(ctypes.Structure):
        """LV2_URID_Map and LV2_URID_Unmap alike: a handle, then a function."""

        _fields_ = [("handle", ctypes.c_void_p), ("function", ctypes.c_void_p)]

    def __init__(self, bundle: Path) -> None:
        name = ctypes.util.find_library("lilv-0")
        if name is None:
            missing("liblilv")
        self.lib = ctypes.CDLL(name)
        self.uris: list[ctypes.Array[ctypes.c_char]] = []  # number n is the URI at place n - 1
        self._map, self._unmap = self.MAP(self._number), self.UNMAP(lambda _, n: ctypes.addressof(self.uris[n - 1]))
        self.map = self.Both(None, ctypes.cast(self._map, ctypes.c_void_p))
        self.unmap = self.Both(None, ctypes.cast(self._unmap, ctypes.c_void_p))
        self.world = self.call("lilv_world_new")
        self.call("lilv_world_load_bundle", self.world, self.call("lilv_new_file_uri", self.world, None, f"{bundle}/"))
        plugins = self.call("lilv_world_get_all_plugins", self.world)
        uri = self.call("lilv_new_uri", self.world, "urn:rtsr:mono")
        self.plugin = self.call("lilv_plugins_get_by_uri", plugins, uri)
        self.features = (ctypes.c_void_p * 1)(None)
        instantiate = self.lib.lilv_plugin_instantiate
        instantiate.restype = ctypes.c_void_p
        made = instantiate(ctypes.c_void_p(self.plugin), ctypes.c_double(RATE), self.features)
        self.instance = ctypes.c_void_p(made)

    def _number(self, _handle: object, uri: bytes) -> int:
        known = [each.value for each in self.uris]
        if uri not in known:
            self.uris.append(ctypes.create_string_buffer(uri))
        return [*known, uri].index(uri) + 1

    def call(self, name: str, *words: object) -> int:
        """Call a function of pointers and strings that returns a pointer."""
        function = getattr(self.lib, name)
        function.restype = ctypes.c_void_p
        given = [w.encode() if isinstance(w, str) else ctypes.c_void_p(w) if isinstance(w, int) else w for w in words]
        return function(*given)

    def save(self, values: dict[str, float], folder: Path) -> None:
        """Save a state that has these values of its ports."""
        kept = {symbol: ctypes.c_float(value) for symbol, value in values.items()}
        kind = self._number(None, b"http://lv2plug.in/ns/ext/atom#Float")

        def get(symbol: bytes, _user: object, size: object, type_: object) -> int | None:
            known = kept.get(symbol.decode())
            size[0], type_[0] = (4, kind) if known is not None else (0, 0)
            return None if known is None else ctypes.addressof(known)

        callback, flags = self.GET(get), ctypes.c_uint32(3)  # plain old data that may be carried elsewhere
        state = self.call("lilv_state_new_from_instance", self.plugin, self.instance, ctypes.byref(self.map),
                          *4 * [None], callback, None, flags, self.features)  # fmt: skip
        urids = ctypes.byref(self.map), ctypes.byref(self.unmap)
        assert not self.call("lilv_state_save", self.world, *urids, state, None, str(folder), "state.ttl")

    def restore(self, folder: Path) -> dict[str, float]:
        """What a saved state sets the ports to."""
        state = self.call("lilv_state_new_from_file", self.world, ctypes.byref(self.map), None, f"{folder}/state.ttl")
        found: dict[str, float] = {}

        def set_(symbol: bytes, _user: object, value: int, _size: int, _type: int) -> None:
            found[symbol.decode()] = ctypes.cast(value, ctypes.POINTER(ctypes.c_float))[0]

        callback = self.SET(set_)
        self.call("lilv_state_restore", state, self.instance, callback, None, ctypes.c_uint32(0), self.features)
        return found


@pytest.fixture
def lilv() -> Lilv:
    """The LV2 plug-in, instantiated."""
    need(PLUGINS / "lv2" / "rtsr.lv2")
    return Lilv(PLUGINS / "lv2" / "rtsr.lv2")


def test_lv2_in_lilv(lilv, tmp_path):
    lilv.save(ASKED, tmp_path)
    assert lilv.restore(tmp_path) == ASKED
    soundfile.write(tmp_path / "in.wav", X, RATE, subtype="FLOAT")
    settings = [word for symbol, value in lilv.restore(tmp_path).items() for word in ("-c", symbol, str(value))]
    for name, words in (("restored", settings), ("fresh", [])):
        run(need("lv2apply"), "-i", str(tmp_path / "in.wav"), "-o", str(tmp_path / f"{name}.wav"), *words,
            "urn:rtsr:mono", LV2_PATH=str(PLUGINS / "lv2"))  # fmt: skip
    run(need(BUILT / "rtsr-cli"), "--model", str(SHIPPED / "voice-16k.json"), "--cutoff", "4000", "--gain", "-6",
        str(tmp_path / "in.wav"), str(tmp_path / "cli.wav"))  # fmt: skip
    got, fresh, expected = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in ("restored", "fresh", "cli"))
    late = latency(RATE)
    np.testing.assert_allclose(got[late:], expected[: len(got) - late], rtol=0, atol=1e-6)
    assert np.abs(got - fresh).max() > 1e-4


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a LADSPA plug-in and a model for 48 kHz beside it: random numbers of the size of a real one."""
    torch = pytest.importorskip("torch") if sys.modules.get("torch") is None else sys.modules["torch"]
    from rtsr.net.export import export
    from rtsr.net.model import BandNet, NetConfig

    need(PLUGINS / "ladspa" / "rtsr.so")
    folder, config = tmp_path_factory.mktemp("beside"), NetConfig(widths=(32, 24, 16))
    spec = replace(
        config.spec, rate=RATE, hop=240, history=1440, synthesis=480, cutoff_min_hz=3000.0, cutoff_max_hz=20_000.0
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        net = BandNet(replace(config, spec=spec))
        net.leave.weight.normal_(0, 0.3)
        net.leave.bias.fill_(1.0)
    export(net, "voice-48k", folder, {"licence": "none: random numbers"})
    shutil.copy(PLUGINS / "ladspa" / "rtsr.so", folder)
    return folder


def render(folder: Path, model: int, at: Path, cutoff: int = 4000) -> np.ndarray:
    """What the LADSPA plug-in of a folder makes of the voice, in ffmpeg."""
    soundfile.write(at / "in.wav", X, RATE, subtype="FLOAT")
    run(need("ffmpeg"), "-v", "error", "-y", "-i", str(at / "in.wav"), "-af",
        f"ladspa=file=rtsr:plugin=rtsr:c=c1={cutoff}|c3={model}", "-c:a", "pcm_f32le", str(at / "out.wav"),
        LADSPA_PATH=str(folder))  # fmt: skip
    return soundfile.read(at / "out.wav", dtype="float32")[0]


def expected_of(manifest: Path, at: Path, cutoff: int = 4000) -> np.ndarray:
    run(need(BUILT / "rtsr-cli"), "--model", str(manifest), "--cutoff", str(cutoff), str(at / "in.wav"),
        str(at / "cli.wav"))  # fmt: skip
    return soundfile.read(at / "cli.wav", dtype="float32")[0]


def test_a_second_model_beside_the_bundle_hears_half_a_second_and_is_blended_in(beside, tmp_path):
    got, late = render(beside, 1, tmp_path), latency(RATE)
    wideband = expected_of(SHIPPED / "voice-16k.json", tmp_path)
    fullband = expected_of(beside / "voice-48k.json", tmp_path)
    np.testing.assert_array_equal(got[late:WARM], wideband[: WARM - late])
    after = WARM + FADE
    np.testing.assert_array_equal(got[after:], fullband[after - late : len(got) - late])  # as late as the other one
    assert np.abs(wideband - fullband).max() > 1e-2
    blended = slice(WARM - late, after - late)
    share = np.arange(1, FADE + 1) / FADE
    expected = wideband[blended] + share * (fullband[blended] - wideband[blended])
    np.testing.assert_allclose(got[WARM:after], expected, rtol=0, atol=1e-5)


def test_a_cutoff_that_a_model_does_not_take_is_the_nearest_that_it_takes(beside, tmp_path):
    got, late, after = render(beside, 1, tmp_path, cutoff=2000), latency(RATE), WARM + FADE
    wideband = expected_of(SHIPPED / "voice-16k.json", tmp_path, cutoff=2000)
    np.testing.assert_array_equal(got[late:WARM], wideband[: WARM - late])
    fullband = expected_of(beside / "voice-48k.json", tmp_path, cutoff=3000)  # its least
    np.testing.assert_array_equal(got[after:], fullband[after - late : len(got) - late])


def test_a_second_model_is_not_heard_where_nobody_asks_for_it(beside, tmp_path):
    got, late = render(beside, 0, tmp_path), latency(RATE)
    np.testing.assert_array_equal(got[late:], expected_of(SHIPPED / "voice-16k.json", tmp_path)[: len(got) - late])


@pytest.mark.parametrize("fault", ["none", "cut"])
def test_without_a_usable_second_model_the_first_one_stays_and_it_says_why(beside, tmp_path, fault):
    path = Path(need(PLUGINS / "vst3" / "rtsr.vst3"))
    shutil.copytree(path, tmp_path / "rtsr.vst3")
    if fault == "cut":
        (tmp_path / "voice-48k.json").write_text((beside / "voice-48k.json").read_text()[:200])
    program = (
        "import numpy, pedalboard; p = pedalboard.load_plugin('rtsr.vst3'); p.model = '48 kHz, where installed'; "
        "x = numpy.zeros((1, 4800), numpy.float32); p.process(x, 48000); p.process(x, 48000, reset=True); "
        "print(p.model_in_use_khz)"
    )
    try:
        import pedalboard  # noqa: F401
    except ImportError:
        missing("pedalboard")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "16.0"
    why = {"none": "voice-48k.json is missing", "cut": "voice-48k.json"}[fault]
    assert "stays with its 16 kHz model" in done.stderr
    assert why in done.stderr
