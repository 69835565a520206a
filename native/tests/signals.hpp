// Signals that tests share.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace signals {

/// The same numbers on every machine (Steele et al. 2014, SplitMix64).
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    int below(int bound) { return int(next() % uint64_t(bound)); }
    float uniform() { return float(double(next() >> 11) / 4503599627370496.0 - 1); }  // from -1 to 1

private:
    uint64_t state_;
};

/// Harmonics with vibrato and pauses over a little noise.
inline std::vector<float> voice_like(double seconds, int rate, uint64_t seed = 0) {
    std::vector<float> out(size_t(seconds * rate));
    Random random(seed);
    double phase = 0;
    for (size_t i = 0; i < out.size(); ++i) {
        const double t = double(i) / rate;
        phase += 2 * M_PI * 140 * (1 + 0.15 * std::sin(2 * M_PI * 0.7 * t + double(seed))) / rate;
        const double loud = std::fmin(1, std::fmax(0, 4 * std::sin(2 * M_PI * 3 * t) + 1));
        double voiced = 0;
        for (int k = 1; k * 180 < rate / 2; ++k) voiced += std::sin(k * phase + k * k) / k;
        out[i] = float(0.15 * loud * voiced + 1e-3 * random.uniform());
    }
    return out;
}

}  // namespace signals
