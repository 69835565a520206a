// The stage that makes the fine structure: the reference's spectra, and what must hold of any input.
#include <cmath>
#include <vector>

#include "signals.hpp"
#include "vectors.hpp"

using namespace rtsr;

namespace {

constexpr double BOUND = 1e-5;  // of the largest bin of a frame

Spec spec_of(const char *model) { return Weights::open(manifest(model)).manifest.net.spec; }

std::vector<float> push(FineStructure &stage, const Spec &spec, const std::vector<float> &heard, float level,
                        float cutoff) {
    const std::vector<float> envelope(size_t(spec.bands()), level);
    const float *made = stage.push(heard.data(), envelope.data(), cutoff);
    return {made, made + 2 * spec.bins_out()};
}

std::vector<float> hiss(const FineStructure &stage, uint32_t seed, float level = 0.1f) {
    signals::Random random(seed);
    std::vector<float> x(size_t(stage.size()));
    for (float &value : x) value = level * random.uniform();
    return x;
}

double loudest(const float *from, const float *to) {
    double most = 0;
    for (; from < to; ++from) most = std::fmax(most, std::fabs(*from));
    return most;
}

/// Every frame of a vector, compared by the size of that frame.
void same_as_reference(const char *model, int which, int rate) {
    const Vectors vectors(model);
    const Spec spec = spec_of(model);
    const std::string name = "structure." + std::to_string(rate);
    const auto heard = vectors.read(name + ".heard"), envelope = vectors.read(name + ".envelope");
    const auto cutoff = vectors.read(name + ".cutoff"), expected = vectors.read(name + ".generated");
    FineStructure stage(spec, rate, kernels(which));
    const size_t bins = 2 * size_t(spec.bins_out());
    int loud = 0;
    for (size_t f = 0; f < cutoff.size(); ++f) {
        const float *made = stage.push(heard.data() + f * size_t(stage.size()),
                                       envelope.data() + f * size_t(spec.bands()), cutoff[f]);
        const float *wanted = expected.data() + f * bins;
        const double size = loudest(wanted, wanted + bins);
        loud += size > 1e-3;
        for (size_t i = 0; i < bins; ++i) CHECK(std::fabs(double(made[i]) - wanted[i]) <= BOUND * size);
    }
    CHECK(loud > 30);
}

}  // namespace

TEST(the_fine_structure_is_the_references) {
    for (const char *model : {"random", "fullband"})
        for (int rate : {8000, 16000, 48000})
            for (int which = 0; which < kernels_count(); ++which) same_as_reference(model, which, rate);
}

TEST(the_noise_is_the_references) {
    const Vectors vectors("random");
    const auto frames = vectors.read("phase.frame"), index = vectors.read("phase.index");
    for (size_t f = 0; f < frames.size(); ++f)
        for (size_t k = 0; k < 100; ++k) CHECK(float(phase_index(int64_t(frames[f]), int(k))) == index[f * 100 + k]);
}

TEST(nothing_comes_of_silence_of_an_envelope_of_nothing_and_of_a_cutoff_beyond_every_bin) {
    for (const char *model : {"random", "fullband"}) {
        const Spec spec = spec_of(model);
        FineStructure stage(spec, spec.rate, kernels());
        const std::vector<float> silence(size_t(stage.size()));
        for (uint32_t i = 0; i < 10; ++i) {
            for (const auto &made : {push(stage, spec, silence, 5, 4000), push(stage, spec, hiss(stage, i), NOTHING, 4000),
                                     push(stage, spec, hiss(stage, i), 0, 2.0f * float(spec.rate))})
                CHECK(loudest(made.data(), made.data() + made.size()) == 0);
        }
    }
}

TEST(any_cutoff_gives_finite_bins_above_it_and_zeros_below) {
    const Spec spec = spec_of("random");
    for (int rate : {4000, 8000, 16000, 48000}) {
        FineStructure stage(spec, rate, kernels());
        for (int hz = 1000; hz <= 7000; hz += 37) {
            const auto made = push(stage, spec, hiss(stage, uint32_t(hz)), 0, float(hz));
            const float *edge = made.data() + 2 * (hz / 100);
            CHECK(loudest(made.data(), edge) == 0);
            CHECK(loudest(edge, made.data() + made.size()) > 0.1);
            for (float x : made) CHECK(std::isfinite(x));
        }
    }
}

TEST(a_reset_stage_gives_the_same_bits) {
    const Spec spec = spec_of("random");
    FineStructure stage(spec, 8000, kernels());
    std::vector<std::vector<float>> first;
    for (uint32_t i = 0; i < 20; ++i) first.push_back(push(stage, spec, hiss(stage, i), 0, 4000));
    CHECK(push(stage, spec, hiss(stage, 0), 0, 4000) != first[0]);
    stage.reset();
    for (uint32_t i = 0; i < 20; ++i) CHECK(push(stage, spec, hiss(stage, i), 0, 4000) == first[i]);
}
