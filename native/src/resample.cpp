#include "resample.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "error.hpp"

namespace rtsr {

namespace {

constexpr double PI = 3.14159265358979323846;
constexpr double STOP_DB = 80.0;
constexpr int MOST_PHASES = 50'000;  // rates without a common divisor would take gigabytes

/// A Kaiser-windowed sinc, 2 * centre + 1 taps with unit gain at 0 Hz (Kaiser 1974); `cutoff` is the -6 dB point in
/// cycles a sample.
std::vector<double> lowpass(int centre, double cutoff) {
    const double beta = 0.1102 * (STOP_DB - 8.7);
    std::vector<double> taps;
    double sum = 0;
    for (int n = -centre; n <= centre; ++n) {
        const double along = double(n) / centre;
        const double window = bessel0(beta * std::sqrt(std::max(0.0, 1 - along * along))) / bessel0(beta);
        taps.push_back(2 * cutoff * sinc(2 * cutoff * n) * window);
        sum += taps.back();
    }
    for (double &tap : taps) tap /= sum;
    return taps;
}

}  // namespace

double sinc(double x) { return x == 0 ? 1 : std::sin(PI * x) / (PI * x); }

double bessel0(double x) {
    double sum = 1, term = 1;
    for (int k = 1; term > 1e-17 * sum; ++k) {  // its series
        term *= x / (2 * k) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

Resampler::Resampler(int rate_in, int rate_out, double delay, int most, const Kernels &kernels) : kernels_(kernels) {
    const int shared = std::gcd(rate_in, rate_out);
    up_ = rate_out / shared;
    down_ = rate_in / shared;
    if (std::max(up_, down_) > MOST_PHASES)
        invalid("expected rates that are in a simpler ratio, got " + std::to_string(rate_in) + " and " +
                std::to_string(rate_out) + " Hz");
    const double centre = std::round(delay * down_);
    if (centre < 1 || std::abs(centre - delay * down_) > 1e-6)
        invalid("expected a delay of at least one step on the grid of 1/" + std::to_string(down_) + ", got " +
                std::to_string(delay));
    make_branches(rate_in, rate_out, int(centre));
    seen_.resize(size_t(taps_ - 1 + most));
}

void Resampler::make_branches(int rate_in, int rate_out, int centre) {
    std::vector<double> prototype(size_t(centre) + 1);
    prototype.back() = 1;
    if (up_ != down_) {
        const double stop_width = (STOP_DB - 7.95) / (14.36 * 2 * centre);
        const double finest = double(up_) * rate_in;
        const double edge = down_ > up_ ? rate_out / 2.0 / finest - stop_width / 2 : rate_in / 2.0 / finest;
        prototype = lowpass(centre, edge);
        for (double &tap : prototype) tap *= up_;
    }
    taps_ = (int(prototype.size()) + up_ - 1) / up_;
    branches_.assign(size_t(up_) * size_t(taps_), 0.0f);
    for (size_t i = 0; i < prototype.size(); ++i) {
        const int tap = int(i) / up_, branch = int(i) % up_;
        branches_[size_t(branch * taps_ + taps_ - 1 - tap)] = float(prototype[i]);
    }
}

int Resampler::count(int samples) const {
    const int64_t ahead = int64_t(samples) * up_ - place_;
    return ahead <= 0 ? 0 : int((ahead + down_ - 1) / down_);
}

int Resampler::process(const float *block, int samples, float *out) {
    std::copy(block, block + samples, seen_.begin() + taps_ - 1);
    const int written = count(samples);
    for (int i = 0; i < written; ++i, place_ += down_) {
        const int64_t newest = place_ / up_, branch = place_ % up_;
        out[i] = kernels_.dot(branches_.data() + branch * taps_, seen_.data() + newest, taps_);
    }
    place_ -= int64_t(samples) * up_;
    std::copy(seen_.begin() + samples, seen_.begin() + samples + taps_ - 1, seen_.begin());
    return written;
}

void Resampler::reset() {
    std::fill(seen_.begin(), seen_.end(), 0.0f);
    place_ = 0;
}

}  // namespace rtsr
