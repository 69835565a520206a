#include "reblock.hpp"

#include <algorithm>
#include <numeric>

#include "denormals.hpp"

namespace rtsr {

namespace {

constexpr int INNER_RATE = 48'000;  // what the stream runs at where a hop is no whole number of samples
constexpr int OUTER_DELAY_MS = 1;   // of a resampler on either side of such a stream
constexpr int LEAST_RATE = 4'000, MOST_RATE = 192'000;
constexpr int ODD = 2;              // samples by which odd rates may come early or late

int checked(int rate) {
    if (rate < LEAST_RATE || rate > MOST_RATE)
        invalid("expected a rate from " + std::to_string(LEAST_RATE) + " to " + std::to_string(MOST_RATE) +
                " Hz, got " + std::to_string(rate) + " Hz");
    return rate;
}

int inner_rate(int rate, const Model &model) { return rate % model.spec().frames_per_s() ? INNER_RATE : rate; }

int divide_up(int64_t a, int64_t b) { return int((a + b - 1) / b); }

/// The most samples that a resampler makes of `samples`.
int most_after(int samples, int rate, int rate_out) { return divide_up(int64_t(samples) * rate_out, rate) + 1; }

}  // namespace

void Waiting::write(const float *from, int count) {
    const int capacity = int(samples_.size());
    for (int i = 0; i < count; ++i) samples_[size_t((first_ + size_ + i) % capacity)] = from[i];
    size_ += count;
}

void Waiting::read(float *to, int count) {
    const int capacity = int(samples_.size());
    for (int i = 0; i < count; ++i) to[i] = samples_[size_t((first_ + i) % capacity)];
    first_ = (first_ + count) % capacity;
    size_ -= count;
}

Reblock::Reblock(std::shared_ptr<const Model> model, int rate_in, int rate_to)
    : rate(checked(rate_in ? rate_in : model->spec().rate)),
      rate_out(checked(rate_to ? rate_to : model->spec().rate)),
      stream_(model, inner_rate(rate, *model), inner_rate(rate_out, *model)),
      step_(std::max(1, int(int64_t(stream_.hop) * rate / stream_.rate))),
      input_resampler_(make_input_resampler(model->kernels)),
      output_resampler_(make_output_resampler(model->kernels)),
      silence_(divide_up(int64_t(stream_.hop_out + (input_resampler_ || output_resampler_ ? ODD : 0)) * rate_out, stream_.rate_out)),
      pending_(4 * stream_.hop + 4 * INNER_RATE / LEAST_RATE),
      ready_(8 * std::max(stream_.hop_out, silence_) + INNER_RATE / 100),
      cleaned_(size_t(step_)),
      converted_(size_t(most_after(step_, rate, stream_.rate))),
      hop_(size_t(stream_.hop)),
      hop_out_(size_t(stream_.hop_out)),
      left_(size_t(most_after(stream_.hop_out, stream_.rate_out, rate_out))) {
    reset();
}

/// The resampler from an odd input rate, its delay a whole number of samples on both sides.
std::optional<Resampler> Reblock::make_input_resampler(const Kernels &kernels) {
    if (rate == stream_.rate) return {};
    const int shared = stream_.rate / std::gcd(stream_.rate, stream_.rate_out);
    input_delay_ = divide_up(OUTER_DELAY_MS * stream_.rate / 1000, shared) * shared;
    return Resampler(rate, stream_.rate, input_delay_, step_, kernels);
}

/// The resampler to an odd output rate; it makes the delay of the whole path a whole number of output samples.
std::optional<Resampler> Reblock::make_output_resampler(const Kernels &kernels) {
    const int inner = stream_.delay() + int(int64_t(input_delay_) * stream_.rate_out / stream_.rate);
    path_ = inner;
    if (rate_out == stream_.rate_out) return {};
    const int64_t whole = int64_t(1000) * stream_.rate_out;  // fractions of an output sample, so that sums are exact
    const int64_t delay = int64_t(inner) * rate_out * 1000;
    path_ = divide_up(delay + int64_t(OUTER_DELAY_MS) * rate_out * stream_.rate_out, whole);
    const double rest = double(path_ * whole - delay) / double(whole);
    return Resampler(stream_.rate_out, rate_out, rest, stream_.hop_out, kernels);
}

void Reblock::process(const float *block, int samples, float *out) noexcept {
    const NoDenormals no_denormals;
    for (int start = 0; start < samples; start += step_) {
        const int count = std::min(step_, samples - start);
        const int now = int(due(count));
        push(block + start, count);
        ready_.read(out, now);
        out += now;
        taken_ += count;
        given_ += now;
    }
}

/// Moves at most about a hop of input through the stream to the output.
void Reblock::push(const float *piece, int samples) {
    clean(piece, samples, cleaned_.data());  // a filter would keep a NaN in its memory
    if (input_resampler_) {
        const int count = input_resampler_->process(cleaned_.data(), samples, converted_.data());
        pending_.write(converted_.data(), count);
    } else {
        pending_.write(cleaned_.data(), samples);
    }
    while (pending_.size() >= stream_.hop) {
        pending_.read(hop_.data(), stream_.hop);
        stream_.process(hop_.data(), hop_out_.data());
        if (output_resampler_) {
            const int count = output_resampler_->process(hop_out_.data(), stream_.hop_out, left_.data());
            ready_.write(left_.data(), count);
        } else {
            ready_.write(hop_out_.data(), stream_.hop_out);
        }
    }
}

void Reblock::reset() noexcept {
    stream_.reset();
    if (input_resampler_) input_resampler_->reset();
    if (output_resampler_) output_resampler_->reset();
    pending_.clear();
    ready_.clear();
    taken_ = given_ = 0;
    const float zero = 0;
    for (int i = 0; i < silence_; ++i) ready_.write(&zero, 1);
}

}  // namespace rtsr
