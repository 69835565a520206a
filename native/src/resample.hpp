// A streaming polyphase resampler with linear phase and a delay that the caller chooses; rtsr/dsp/resample.py.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace rtsr {

double sinc(double x);
/// The modified Bessel function of the first kind and order 0, of which Kaiser made his window.
double bessel0(double x);

/// Converts one signal from `rate_in` to `rate_out`, delayed by exactly `delay` output samples. The delay is also the
/// quality: a filter of that half length, 80 dB down. Equal rates are a plain delay, bit for bit.
class Resampler {
public:
    /// `most` is the longest block that `process` will be given. Refuses a delay that is not on the grid of both rates.
    Resampler(int rate_in, int rate_out, double delay, int most, const Kernels &kernels);

    /// How many output samples the next `samples` inputs give.
    int count(int samples) const;
    /// Takes at most `most` samples and writes those that are complete; returns how many.
    int process(const float *block, int samples, float *out);
    void reset();

private:
    void make_branches(int rate_in, int rate_out, int centre);

    const Kernels &kernels_;
    int up_, down_, taps_ = 0;
    int64_t place_ = 0;           // of the next output on the fine grid, from the start of the next block
    std::vector<float> branches_; // (up, taps), newest input last
    std::vector<float> seen_;     // the last taps - 1 inputs, then the block
};

}  // namespace rtsr
