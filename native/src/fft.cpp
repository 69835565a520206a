#include "fft.hpp"

#include <cmath>

namespace rtsr {

namespace {

constexpr double PI = 3.14159265358979323846;

/// 4 before 2: a pass of radix 4 costs less than two of radix 2. The largest come first, while strides are short.
std::vector<int> factors(int size) {
    std::vector<int> small, large;
    for (int p : {4, 2, 3, 5})
        for (; size % p == 0; size /= p) small.push_back(p);
    for (int p = 7; size > 1; p += 2)
        for (; size % p == 0; size /= p) large.push_back(p);
    large.insert(large.end(), small.rbegin(), small.rend());
    return large;
}

}  // namespace

Fft::Fft(int size) : half_(size / 2) {
    int left = half_, stride = 1;
    for (int radix : factors(half_)) {
        Stage stage{radix, left / radix, stride, {}, {}};
        for (int q = 0; q < stage.blocks; ++q)
            for (int u = 0; u < radix; ++u)
                for (int t = 0; t < radix; ++t) {
                    const double turns = double(q) * u / left + double(t) * u / radix;
                    stage.re.push_back(float(std::cos(2 * PI * turns)));
                    stage.im.push_back(float(-std::sin(2 * PI * turns)));
                }
        stages_.push_back(std::move(stage));
        left /= radix;
        stride *= radix;
    }
    for (int k = 0; k <= half_; ++k) {
        turn_re_.push_back(float(std::cos(PI * k / half_)));
        turn_im_.push_back(float(-std::sin(PI * k / half_)));
    }
    for (auto *buffer : {&a_, &b_, &c_, &d_}) buffer->resize(size_t(half_));
}

void Fft::pass(const Stage &stage, const float *re, const float *im, float *re_out, float *im_out) {
    const int radix = stage.radix, stride = stage.stride, apart = stage.blocks * stride;
    const float *turn_re = stage.re.data(), *turn_im = stage.im.data();
    for (int q = 0; q < stage.blocks; ++q)
        for (int u = 0; u < radix; ++u, re_out += stride, im_out += stride) {
            for (int j = 0; j < stride; ++j) re_out[j] = im_out[j] = 0;
            for (int t = 0; t < radix; ++t, ++turn_re, ++turn_im) {
                const float wr = *turn_re, wi = *turn_im;
                const float *xr = re + q * stride + t * apart, *xi = im + q * stride + t * apart;
                for (int j = 0; j < stride; ++j) {
                    re_out[j] += wr * xr[j] - wi * xi[j];
                    im_out[j] += wr * xi[j] + wi * xr[j];
                }
            }
        }
}

/// In place of (re, im), with (re_free, im_free) to work in; the four change places.
void Fft::transform(float *&re, float *&im, float *&re_free, float *&im_free) const {
    for (const Stage &stage : stages_) {
        pass(stage, re, im, re_free, im_free);
        std::swap(re, re_free);
        std::swap(im, im_free);
    }
}

void Fft::forward(const float *signal, float *spectrum) {
    float *re = a_.data(), *im = b_.data(), *re_free = c_.data(), *im_free = d_.data();
    for (int n = 0; n < half_; ++n) re[n] = signal[2 * n], im[n] = signal[2 * n + 1];
    transform(re, im, re_free, im_free);
    for (int k = 0; k <= half_; ++k) {  // the even and the odd samples' spectra, put together
        const int i = k == half_ ? 0 : k, j = k == 0 ? 0 : half_ - k;
        const float even_re = 0.5f * (re[i] + re[j]), even_im = 0.5f * (im[i] - im[j]);
        const float odd_re = 0.5f * (im[i] + im[j]), odd_im = 0.5f * (re[j] - re[i]);
        const float wr = turn_re_[size_t(k)], wi = turn_im_[size_t(k)];
        spectrum[2 * k] = even_re + wr * odd_re - wi * odd_im;
        spectrum[2 * k + 1] = even_im + wr * odd_im + wi * odd_re;
    }
}

void Fft::inverse(const float *spectrum, float *signal) {
    float *re = a_.data(), *im = b_.data(), *re_free = c_.data(), *im_free = d_.data();
    const float scale = 0.5f / float(half_);
    for (int k = 0; k < half_; ++k) {
        const float *up = spectrum + 2 * k, *down = spectrum + 2 * (half_ - k);
        const float up_im = k == 0 ? 0 : up[1], down_im = k == 0 ? 0 : down[1];
        const float even_re = up[0] + down[0], even_im = up_im - down_im;
        const float diff_re = up[0] - down[0], diff_im = up_im + down_im;
        const float wr = turn_re_[size_t(k)], wi = -turn_im_[size_t(k)];
        const float odd_re = diff_re * wr - diff_im * wi, odd_im = diff_re * wi + diff_im * wr;
        re[k] = scale * (even_re - odd_im);
        im[k] = scale * (even_im + odd_re);
    }
    transform(im, re, im_free, re_free);  // parts exchanged: the inverse
    for (int n = 0; n < half_; ++n) signal[2 * n] = re[n], signal[2 * n + 1] = im[n];
}

}  // namespace rtsr
