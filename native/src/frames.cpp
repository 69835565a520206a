#include "frames.hpp"

#include <algorithm>
#include <cmath>

namespace rtsr {

namespace {

constexpr double PI = 3.14159265358979323846;

/// A slow sine rise, then a cosine fall over the newest hop: one function of time, sampled at `rate`.
std::vector<float> analysis_window(const Spec &spec, int rate) {
    const int fall = spec.hop_at(rate), rise = spec.history_at(rate) - fall;
    const float scale = float(spec.rate) / float(rate);
    std::vector<float> window;
    for (int i = 0; i < rise; ++i) window.push_back(float(std::sin(0.5 * PI * i / rise)) * scale);
    for (int i = 0; i < fall; ++i) window.push_back(float(std::cos(0.5 * PI * i / fall)) * scale);
    return window;
}

}  // namespace

std::vector<float> synthesis_window(const Spec &spec, int rate) {
    const float scale = float(spec.rate) / float(rate);
    std::vector<float> window;
    for (int i = 0; i < 2 * spec.hop_at(rate); ++i) {
        const double seconds = double(i) / rate + 0.5 / spec.rate;
        window.push_back(float(std::sin(PI * seconds * spec.rate / spec.synthesis)) * scale);
    }
    return window;
}

Frames::Frames(const Spec &spec, int rate)
    : hop_(spec.hop_at(rate)),
      common_(std::min(spec.history_at(rate) / 2 + 1, spec.bins_in())),
      fft_(spec.history_at(rate)),
      window_(analysis_window(spec, rate)),
      history_(window_.size()),
      frame_(window_.size()),
      bins_(window_.size() + 2),
      spectrum_(2 * size_t(spec.bins_in())) {}

const float *Frames::push(const float *hop) {
    std::copy(history_.begin() + hop_, history_.end(), history_.begin());
    std::copy(hop, hop + hop_, history_.end() - hop_);
    for (size_t i = 0; i < frame_.size(); ++i) frame_[i] = history_[i] * window_[i];
    fft_.forward(frame_.data(), bins_.data());
    std::copy(bins_.begin(), bins_.begin() + 2 * common_, spectrum_.begin());
    return spectrum_.data();
}

void Frames::reset() { std::fill(history_.begin(), history_.end(), 0.0f); }

OverlapAdd::OverlapAdd(const Spec &spec)
    : hop_(spec.hop),
      fft_(spec.synthesis),
      window_(synthesis_window(spec, spec.rate)),
      held_(size_t(spec.overlap())),
      frame_(size_t(spec.synthesis)),
      out_(size_t(spec.hop)) {}

const float *OverlapAdd::push(const float *generated) {
    fft_.inverse(generated, frame_.data());
    for (size_t i = 0; i < out_.size(); ++i) {
        const size_t later = i + size_t(hop_);
        out_[i] = held_[i] + frame_[i] * window_[i];
        held_[i] = frame_[later] * window_[later];
    }
    return out_.data();
}

void OverlapAdd::reset() { std::fill(held_.begin(), held_.end(), 0.0f); }

}  // namespace rtsr
