// A voice through the whole path: the reference's samples, and what must hold on any input.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "denormals.hpp"
#include "fft.hpp"
#include "signals.hpp"
#include "vectors.hpp"

using namespace rtsr;
using signals::voice_like;

namespace {

std::shared_ptr<const Model> opened(const std::string &model = "random") {
    return Model::open(manifest(model), Precision::FLOAT32, kernels());
}

std::vector<float> run(Stream &stream, const std::vector<float> &in) {
    std::vector<float> out(in.size() / size_t(stream.hop) * size_t(stream.hop_out));
    for (size_t i = 0; (i + 1) * size_t(stream.hop) <= in.size(); ++i)
        stream.process(in.data() + i * size_t(stream.hop), out.data() + i * size_t(stream.hop_out));
    return out;
}

double loudest(const std::vector<float> &x) {
    double most = 0;
    for (float value : x) most = std::fmax(most, std::fabs(value));
    return most;
}

void same_as_reference(const std::string &model, int which, int rate, int rate_out, const std::string &cutoff) {
    const Vectors vectors(model);
    const std::string name =
        "stream." + std::to_string(rate) + "." + std::to_string(rate_out) + "." + cutoff;
    Stream stream(Model::open(manifest(model), Precision::FLOAT32, kernels(which)), rate, rate_out);
    CHECK(stream.set_cutoff(cutoff == "auto" ? 0 : std::stod(cutoff)));
    const auto got = run(stream, vectors.read(name + ".in")), expected = vectors.read(name + ".out");
    CHECK(difference(got, expected) <= 1e-4);
    if (cutoff == "auto") CHECK(stream.cutoff_hz() > 2500 && stream.cutoff_hz() < 3500);
}

void every_rate_pair(const std::string &model, int which) {
    same_as_reference(model, which, 8000, 16000, "4000.0");
    same_as_reference(model, which, 16000, 16000, "3400.0");
    same_as_reference(model, which, 16000, 16000, "auto");
    same_as_reference(model, which, 48000, 48000, "auto");
    same_as_reference(model, which, 4000, 16000, "2000.0");
    same_as_reference(model, which, 16000, 48000, "2500.0");
    same_as_reference(model, which, 11000, 32000, "2500.0");
}

}  // namespace

TEST(a_stream_gives_what_the_reference_gives) {
    for (int which = 0; which < kernels_count(); ++which) every_rate_pair("random", which);
    every_rate_pair("shipped", kernels_count() - 1);
}

TEST(a_stream_to_48_khz_gives_what_the_reference_gives) {
    for (int which = 0; which < kernels_count(); ++which) {
        same_as_reference("fullband", which, 8000, 48000, "4000.0");
        same_as_reference("fullband", which, 16000, 48000, "8000.0");
        same_as_reference("fullband", which, 24000, 48000, "12000.0");
        same_as_reference("fullband", which, 48000, 48000, "auto");
        same_as_reference("fullband", which, 48000, 96000, "6000.0");
    }
}

TEST(the_tracker_finds_what_the_reference_finds) {
    const Vectors vectors("random");
    const Spec spec = opened()->spec();
    for (const char *name : {"wider", "narrower", "tone", "sweep", "fading", "clicks", "thin", "high"}) {
        const std::string prefix = std::string("tracker.") + name;
        const auto spectra = vectors.read(prefix + ".spectrum"), expected = vectors.read(prefix + ".cutoff");
        CutoffTracker tracker(spec, spec.rate);
        size_t others = 0;  // a sum's last bit may decide otherwise, and then a frame earlier or later
        for (size_t f = 0; f < expected.size(); ++f)
            others += float(tracker.push(spectra.data() + f * size_t(spec.bins_in()) * 2)) != expected[f];
        CHECK(others <= 2);
    }
}

TEST(reset_gives_the_same_bits) {
    for (int rate_out : {16000, 48000}) {
        Stream stream(opened(), 16000, rate_out);
        const auto voice = voice_like(1, 16000);
        const auto first = run(stream, voice);
        stream.reset();
        CHECK(run(stream, voice) == first);
        CHECK(loudest(first) > 0.1);
    }
}

TEST(silence_gives_exact_silence) {
    Stream stream(opened(), 8000, 16000);
    CHECK(stream.set_cutoff(2000));
    CHECK(loudest(run(stream, std::vector<float>(8000))) == 0);
}

TEST(any_input_gives_finite_limited_samples_and_then_silence) {
    constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> junk{0, nan, 1, inf, -1e30f, -inf, 1e-40f, std::numeric_limits<float>::max(), -nan};
    for (int rate : {4000, 16000, 48000}) {
        Stream stream(opened(), rate, 48000);
        CHECK(stream.set_cutoff(1500));
        CHECK(stream.set_gain(24));
        std::vector<float> in(size_t(rate) / 2);
        for (size_t i = 0; i < in.size(); ++i) in[i] = junk[i * 7 % junk.size()];
        for (float x : run(stream, in)) CHECK(x >= -1 && x <= 1);
        const auto after = run(stream, std::vector<float>(size_t(rate)));
        CHECK(loudest({after.end() - 24000, after.end()}) == 0);
    }
}

TEST(with_the_bypass_only_the_received_band_comes_with_the_same_latency) {
    Stream stream(opened(), 16000, 16000), loud(opened(), 16000, 16000);
    CHECK(stream.set_cutoff(2000) && loud.set_cutoff(2000));
    stream.set_bypass(true);
    stream.reset();
    const auto voice = voice_like(1, 16000), out = run(stream, voice);
    for (size_t i = size_t(stream.delay()); i < out.size(); ++i)
        CHECK(out[i] == voice[i - size_t(stream.delay())]);
    CHECK(run(loud, voice) != out);
}

TEST(the_bypass_slides_in_over_one_hop) {
    Stream kept(opened(), 16000, 16000), plain(opened(), 16000, 16000), changed(opened(), 16000, 16000);
    for (Stream *stream : {&kept, &plain, &changed}) CHECK(stream->set_cutoff(2000));
    plain.set_bypass(true);
    plain.reset();
    const auto voice = voice_like(0.5, 16000);
    std::vector<float> full(80), none(80), some(80);
    for (size_t i = 0; i < 100; ++i) {
        if (i == 70) changed.set_bypass(true);
        kept.process(voice.data() + 80 * i, full.data());
        plain.process(voice.data() + 80 * i, none.data());
        changed.process(voice.data() + 80 * i, some.data());
        if (i < 70) CHECK(some == full);
        if (i == 70)
            for (size_t k = 0; k < 80; ++k) {
                const double ramp = 1 - double(k + 1) / 80;
                CHECK(std::fabs(some[k] - none[k] - ramp * (full[k] - none[k])) < 1e-5);
            }
        if (i == 70) CHECK(loudest(full) > 0 && full != none);
        if (i > 70) CHECK(some == none);
    }
}

TEST(settings_that_cannot_be_are_refused_and_change_nothing) {
    Stream stream(opened(), 16000, 16000);
    CHECK(stream.set_cutoff(3000));
    for (double bad : {999.0, -1.0, 16001.0, double(NAN), double(INFINITY)}) CHECK(!stream.set_cutoff(bad));
    CHECK(stream.cutoff_hz() == 3000);
    for (double bad : {24.1, double(NAN), double(INFINITY)}) CHECK(!stream.set_gain(bad));
    CHECK(stream.set_gain(-INFINITY));
}

TEST(rates_that_cannot_be_are_refused) {
    const auto model = opened();
    CHECK(check::contains(REFUSED(RTSR_INVALID, Stream(model, 44100, 48000)), "44100"));
    CHECK(check::contains(REFUSED(RTSR_INVALID, Stream(model, 16000, 8000)), "at least 16000"));
    REFUSED(RTSR_INVALID, Stream(model, -8000, 16000));
}

TEST(denormals_are_off_while_it_runs_and_as_they_were_afterwards) {
    volatile float smallest = 1e-40f;
    {
        const NoDenormals none;
        CHECK(smallest * 1.0f == 0);
    }
    CHECK(smallest * 1.0f > 0);
    Stream stream(opened(), 16000, 16000);
    run(stream, std::vector<float>(160, 1e-40f));
    CHECK(smallest * 1.0f > 0);
}

TEST(a_transform_is_the_sum_that_defines_it) {
    signals::Random random(3);
    for (int size : {2, 6, 120, 154, 160, 240, 480, 660, 1440}) {
        Fft fft(size);
        std::vector<float> x(static_cast<size_t>(size)), got(size_t(size) + 2), expected, back(x.size());
        for (float &value : x) value = random.uniform();
        for (int k = 0; k <= size / 2; ++k) {
            double re = 0, im = 0;
            for (int n = 0; n < size; ++n) {
                re += double(x[size_t(n)]) * std::cos(2 * M_PI * k * n / size);
                im -= double(x[size_t(n)]) * std::sin(2 * M_PI * k * n / size);
            }
            expected.push_back(float(re));
            expected.push_back(float(im));
        }
        fft.forward(x.data(), got.data());
        CHECK(difference(got, expected) < 1e-6);
        got[1] = got[size_t(size) + 1] = 7;  // imaginary parts that do not count
        fft.inverse(got.data(), back.data());
        CHECK(difference(back, x) < 1e-6);
    }
}
