#include "structure.hpp"

#include <algorithm>
#include <cmath>

#include "frames.hpp"

namespace rtsr {

namespace {

// As in rtsr/spec.py and rtsr/dsp/structure.py.
constexpr double PI = 3.14159265358979323846;
constexpr double LOWEST_BAND_HZ = 1000;
constexpr float POWER_FLOOR = 1e-9f;
constexpr double SILENCE_DBFS = -108;
constexpr float ENVELOPE_CEILING = 10;
constexpr float LEAST = -60;
constexpr double LEAST_NOISE = 0.2, MOST_NOISE = 1.0;
constexpr double NOISE_FROM = 1.25, NOISE_TO = 2.5;
constexpr int PHASES = 256;

double erb_rate(double hz) { return 21.4 * std::log10(1 + 0.00437 * hz); }

/// Unit phasors, (PHASES, 2).
const std::vector<float> &phasors() {
    static const std::vector<float> table = [] {
        std::vector<float> made;
        for (int i = 0; i < PHASES; ++i) {
            made.push_back(float(std::cos(2 * PI * i / PHASES)));
            made.push_back(float(std::sin(2 * PI * i / PHASES)));
        }
        return made;
    }();
    return table;
}

}  // namespace

size_t phase_index(int64_t frame, int bin) {
    uint32_t h = uint32_t(uint64_t(frame)) * 0x9E3779B1u + uint32_t(bin) * 0x85EBCA77u;
    h = (h ^ (h >> 16)) * 0x45D9F3Bu;
    h = (h ^ (h >> 16)) * 0x45D9F3Bu;
    return (h ^ (h >> 16)) >> 24;
}

Bands::Bands(const Spec &spec)
    : count(spec.bands()), weight(size_t(count)) {
    const int bins = spec.bins_out();
    std::vector<double> sums(size_t(count), 0.0);
    first_bin = bins;
    for (int k = 0; k < bins; ++k) {
        const double place = erb_rate(spec.rate / 2.0 * k / (bins - 1)) - erb_rate(LOWEST_BAND_HZ);
        const double inside = std::clamp(place, 0.0, double(count - 1));
        lower.push_back(std::min(int(inside), count - 2));
        fraction.push_back(float(inside - lower.back()));
        if (place <= -1) continue;
        first_bin = std::min(first_bin, k);
        sums[size_t(lower.back())] += 1 - (inside - lower.back());
        sums[size_t(lower.back()) + 1] += inside - lower.back();
    }
    for (size_t b = 0; b < sums.size(); ++b) weight[b] = float(1 / sums[b]);
}

FineStructure::FineStructure(const Spec &spec, int rate, const Kernels &kernels)
    : bands_(spec),
      bin_hz_(double(spec.rate) / spec.synthesis),
      silence_(std::pow(10, SILENCE_DBFS / 10) * spec.synthesis * spec.synthesis / 4),
      common_(std::min(spec.hop_at(rate) + 1, spec.bins_out())),
      kernels_(kernels),
      fft_(2 * spec.hop_at(rate)),
      window_(synthesis_window(spec, rate)),
      windowed_(window_.size()),
      short_(window_.size() + 2),
      gains_(size_t(bands_.count)),
      copied_(size_t(spec.bins_out())),
      noise_(size_t(spec.bins_out())),
      missing_(size_t(spec.bins_out())),
      generated_(2 * size_t(spec.bins_out())) {
    phasors();
}

/// How much of the generated band is heard, 0 to 1: nothing comes of silence.
float FineStructure::audible() const {
    double total = 0;
    for (size_t i = 0; i < 2 * size_t(common_); ++i) total += double(short_[i]) * double(short_[i]);
    return float(std::min(total / silence_, 1.0));
}

/// Half the natural log of what makes each band's mean power 1, copies above `edge` included.
void FineStructure::normalise(int edge) {
    const int bins = int(copied_.size()), start = edge / 2, length = edge - start;
    std::fill(gains_.begin(), gains_.end(), 0.0f);
    for (int k = bands_.first_bin; k < bins; ++k) {
        const int source = k < edge ? k : start + (k - edge) % length;
        if (source >= common_) continue;
        const float re = short_[2 * size_t(source)], im = short_[2 * size_t(source) + 1], power = re * re + im * im;
        const size_t b = size_t(bands_.lower[size_t(k)]);
        gains_[b] += (1 - bands_.fraction[size_t(k)]) * power;
        gains_[b + 1] += bands_.fraction[size_t(k)] * power;
    }
    for (size_t b = 0; b < gains_.size(); ++b) gains_[b] = -0.5f * std::log(gains_[b] * bands_.weight[b] + POWER_FLOOR);
}

/// From bin `edge` on: the factors of the copies and of the noise, the missing share of a bin left out.
void FineStructure::levels(const float *envelope, float cutoff_hz, int edge) {
    const size_t bins = copied_.size();
    for (size_t k = size_t(edge); k < bins; ++k) {
        const size_t b = size_t(bands_.lower[k]);
        const float part = bands_.fraction[k];
        const float log_power = (1 - part) * envelope[b] + part * envelope[b + 1];
        const float level = 0.5f * std::min(log_power, ENVELOPE_CEILING);
        if (log_power < LEAST) missing_[k] = 0;
        noise_[k] = std::max(level, 0.5f * LEAST);
        copied_[k] = noise_[k] + (1 - part) * gains_[b] + part * gains_[b + 1];
    }
    kernels_.exp(copied_.data() + edge, int(bins) - edge);
    kernels_.exp(noise_.data() + edge, int(bins) - edge);
    for (size_t k = size_t(edge); k < bins; ++k) {
        const double along = (double(k) * bin_hz_ / double(cutoff_hz) - NOISE_FROM) / (NOISE_TO - NOISE_FROM);
        const float ratio = float(LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * std::clamp(along, 0.0, 1.0));
        const float share = missing_[k] / std::sqrt(1 + ratio * ratio);
        copied_[k] *= share;
        noise_[k] *= share * ratio;
    }
}

const float *FineStructure::push(const float *newest, const float *envelope, float cutoff_hz) {
    const int64_t frame = frame_++;
    const int bins = int(copied_.size());
    std::fill(generated_.begin(), generated_.end(), 0.0f);
    const int edge = int(std::min(double(cutoff_hz) / bin_hz_, double(bins)));
    if (edge >= bins) return generated_.data();
    for (size_t i = 0; i < window_.size(); ++i) windowed_[i] = newest[i] * window_[i];
    fft_.forward(windowed_.data(), short_.data());
    const float heard = audible();
    for (int k = edge; k < bins; ++k)
        missing_[size_t(k)] = heard * float(std::min((k * bin_hz_ - double(cutoff_hz)) / bin_hz_ + 1, 1.0));
    normalise(edge);
    levels(envelope, cutoff_hz, edge);
    const int start = edge / 2, length = edge - start;
    const float *table = phasors().data();
    for (int k = edge; k < bins; ++k) {
        const int source = start + (k - edge) % length;
        const bool turned = (k - source) & int(frame & 1);  // the phase that a shift by whole bins gains in a hop
        const float copied = source >= common_ ? 0 : turned ? -copied_[size_t(k)] : copied_[size_t(k)];
        const float *received = short_.data() + 2 * size_t(std::min(source, common_ - 1));
        const float *phase = table + 2 * phase_index(frame, k);
        for (size_t half = 0; half < 2; ++half)
            generated_[2 * size_t(k) + half] = copied * received[half] + noise_[size_t(k)] * phase[half];
    }
    return generated_.data();
}

}  // namespace rtsr
