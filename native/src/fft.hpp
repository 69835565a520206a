// The Fourier transform of real signals of any even length; the plan is made once, a transform allocates nothing.
#pragma once

#include <vector>

namespace rtsr {

class Fft {
public:
    /// `size` is even; fast where it is a product of small primes.
    explicit Fft(int size);

    /// signal (size) to spectrum (size / 2 + 1, 2), real and imaginary parts.
    void forward(const float *signal, float *spectrum);

    /// spectrum (size / 2 + 1, 2) to signal (size), the inverse of `forward`; the imaginary parts at 0 Hz and at half
    /// of the rate count as zero.
    void inverse(const float *spectrum, float *signal);

private:
    /// One pass of Stockham's algorithm: `blocks` groups of `radix` points that lie `blocks * stride` apart.
    struct Stage {
        int radix, blocks, stride;
        std::vector<float> re, im;  // (blocks, radix out, radix in)
    };
    void transform(float *&re, float *&im, float *&re_free, float *&im_free) const;
    static void pass(const Stage &stage, const float *re, const float *im, float *re_out, float *im_out);

    int half_;
    std::vector<Stage> stages_;
    std::vector<float> turn_re_, turn_im_;  // exp(-2 pi i k / size), k up to half
    std::vector<float> a_, b_, c_, d_;
};

}  // namespace rtsr
