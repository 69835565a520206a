// Any block size and any rate around a stream that knows only hops: constant pre-fill, constant latency; the twin of
// rtsr/io/reblock.py.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "resample.hpp"
#include "stream.hpp"

namespace rtsr {

/// A queue of samples with a fixed capacity. One thread.
class Waiting {
public:
    explicit Waiting(int most) : samples_(size_t(most)) {}
    int size() const { return size_; }
    void write(const float *from, int count);
    void read(float *to, int count);
    void clear() { first_ = size_ = 0; }

private:
    std::vector<float> samples_;
    int first_ = 0, size_ = 0;
};

class Reblock {
public:
    /// Rates from 4 to 192 kHz; 0 stands for the model's. Refuses others, and an output rate below the model's.
    Reblock(std::shared_ptr<const Model> model, int rate, int rate_out);

    /// Takes a block of any length and writes what is due by then, `due(samples)`: exactly as many samples where the
    /// rates are equal. Never allocates, locks, throws or waits.
    void process(const float *block, int samples, float *out) noexcept;
    int64_t due(int samples) const { return (taken_ + samples) * rate_out / rate - given_; }
    void reset() noexcept;

    /// Output sample i belongs to input time i - latency, whatever the block sizes.
    int latency() const { return path_ + silence_; }
    Stream &stream() { return stream_; }

    const int rate, rate_out;

private:
    std::optional<Resampler> make_input_resampler(const Kernels &kernels);
    std::optional<Resampler> make_output_resampler(const Kernels &kernels);
    void push(const float *piece, int samples);

    Stream stream_;
    const int step_;             // input samples that are at most about a hop
    int input_delay_ = 0, path_ = 0; // delays: of the input resampler at the stream's rate, of everything in whole output samples
    std::optional<Resampler> input_resampler_, output_resampler_;
    const int silence_;
    Waiting pending_, ready_;
    std::vector<float> cleaned_, converted_, hop_, hop_out_, left_;
    int64_t taken_ = 0, given_ = 0;
};

}  // namespace rtsr
