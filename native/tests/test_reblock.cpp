// Any block size and any rate: the reference's samples, the reported latency, and the same bits however it is cut.
#include <limits>

#include "reblock.hpp"
#include "signals.hpp"
#include "vectors.hpp"

using namespace rtsr;

namespace {

constexpr std::pair<int, int> RATES[] = {{44100, 44100}, {16000, 16000}, {22050, 48000}, {8000, 44100}, {44100, 16000}};

/// The signal in blocks of random sizes from 0 to `most`, or of one size.
std::vector<float> run(Reblock &path, const std::vector<float> &in, int most, bool random_sizes) {
    signals::Random random{uint64_t(most)};
    std::vector<float> out, block;
    for (size_t at = 0; at < in.size();) {
        const int size = std::min(int(in.size() - at), random_sizes ? random.below(most + 1) : most);
        block.assign(size_t(path.due(size)), 7.0f);
        path.process(in.data() + at, size, block.data());
        out.insert(out.end(), block.begin(), block.end());
        at += size_t(size);
    }
    return out;
}

std::shared_ptr<const Model> opened() { return Model::open(manifest("random"), Precision::FLOAT32, kernels()); }

}  // namespace

TEST(it_gives_what_the_reference_gives) {
    const Vectors vectors("random");
    for (const auto &[rate, rate_out] : RATES) {
        const std::string name = "reblock." + std::to_string(rate) + "." + std::to_string(rate_out);
        Reblock path(opened(), rate, rate_out);
        CHECK(path.stream().set_cutoff(3000));
        CHECK(path.latency() == int(vectors.read(name + ".latency")[0]));
        CHECK(difference(run(path, vectors.read(name + ".in"), 300, true), vectors.read(name + ".out")) <= 1e-4);
    }
}

TEST(any_blocks_give_the_same_bits) {
    for (const auto &[rate, rate_out] : RATES) {
        Reblock path(opened(), rate, rate_out);
        CHECK(path.stream().set_cutoff(2500));
        auto voice = signals::voice_like(1, rate);
        voice[100] = NAN;
        const auto expected = run(path, voice, int(voice.size()), false);
        for (int size : {1, 64, 441, 1024, 8192}) {
            path.reset();
            CHECK(run(path, voice, size, false) == expected);
            path.reset();
            CHECK(run(path, voice, size, true) == expected);
        }
    }
}

TEST(one_sample_that_cannot_be_costs_one_sample) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    const std::pair<float, float> counts_as[] = {{NAN, 0}, {inf, 1}, {-inf, -1}, {1e30f, 1}};
    for (int rate : {16000, 44100})
        for (const auto &[value, as] : counts_as) {
            Reblock path(opened(), rate, 48000);
            auto voice = signals::voice_like(0.2, rate);
            voice[size_t(rate) / 10] = as;
            const auto expected = run(path, voice, 441, false);
            path.reset();
            voice[size_t(rate) / 10] = value;
            CHECK(run(path, voice, 441, false) == expected);
        }
}

TEST(an_impulse_leaves_when_it_was_promised) {
    for (const auto &[rate, rate_out] : RATES) {
        Reblock path(opened(), rate, rate_out);
        path.stream().set_bypass(true);
        path.reset();
        std::vector<float> in(size_t(rate) / 5);
        const int place = rate / 10;
        in[size_t(place)] = 0.9f;
        const auto out = run(path, in, 500, true);
        const auto quieter = [](float a, float b) { return std::fabs(a) < std::fabs(b); };
        const auto most = std::max_element(out.begin(), out.end(), quieter);
        CHECK(most - out.begin() == int64_t(place) * rate_out / rate + path.latency());
    }
}

TEST(rates_out_of_bounds_are_refused) {
    for (int bad : {3999, 192001, -1}) REFUSED(RTSR_INVALID, Reblock(opened(), bad, 16000));
    REFUSED(RTSR_INVALID, Reblock(opened(), 16000, 8000));
    REFUSED(RTSR_INVALID, Reblock(opened(), 8000, 191999));  // no common divisor: a filter of gigabytes
}
