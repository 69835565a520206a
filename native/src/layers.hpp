// Causal layers with explicit state, one frame at a time; in Python rtsr/net/layers.py.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels.hpp"
#include "tensors.hpp"

namespace rtsr {

/// Where the layers of a network come from: the tensors, the precision they are kept in, the loops they run in.
struct WeightSource {
    const Tensors &tensors;
    Precision precision;
    const Kernels &kernels;
};

/// Room for `count` values in whole panels.
inline int padded(int count) { return (count + PANEL - 1) / PANEL * PANEL; }

/// What a layer's products work in, `stride` bytes for each row: room_for its inputs.
struct Room {
    char *begin;
    long stride;
};

/// y = W x + b, the weights packed in panels in the order in which they are read.
class Linear {
public:
    Linear(const WeightSource &from, const std::string &name, int in, int out);
    /// `rows` vectors of x, each `x_stride` from the last, to y, which has room for padded(out) each.
    void apply(const float *x, int x_stride, float *y, int y_stride, int rows, Room room) const;

private:
    struct Free {
        void operator()(void *memory) const { std::free(memory); }
    };
    const Kernels &kernels_;
    const Precision precision_;
    const int in_, panels_;
    const long panel_bytes_;
    std::unique_ptr<void, Free> weights_, bias_;
};

/// The last frames that a causal layer has seen, oldest overwritten first.
class Past {
public:
    Past(int frames, int channels) : frames_(frames), channels_(channels), values_(size_t(frames) * size_t(channels)) {}
    /// The frame so many steps ago, 1 to `frames`.
    const float *ago(int steps) const {
        const int at = place_ - steps;
        return values_.data() + long(at < 0 ? at + frames_ : at) * channels_;
    }
    void push(const float *frame);
    void reset();
    size_t size() const { return values_.size(); }
    /// All frames, oldest first; each returns where the next state begins.
    float *read(float *out) const;
    const float *write(const float *from);

private:
    int frames_, channels_, place_ = 0;
    std::vector<float> values_;
};

class Norm {
public:
    Norm(const WeightSource &from, const std::string &name, int channels);
    void apply(const float *x, float *y) const { kernels_.norm(x, gain_.data(), bias_.data(), channels_, y); }

private:
    const Kernels &kernels_;
    const int channels_;
    std::vector<float> gain_, bias_;
};

/// What a layer works in: rows of `stride` floats, `rows` of them in each of two buffers, and the room of products.
struct Scratch {
    int stride;
    float *one, *two;
    Room room;
};

/// Depthwise over past frames, norm, expand, GELU, project, add.
class Block {
public:
    Block(const WeightSource &from, const std::string &name, int channels, int hidden, int kernel, int dilation);
    int memory() const { return (kernel_ - 1) * dilation_; }
    /// Advances `rows` vectors in place by one frame; `past` has one entry a row.
    void apply(float *x, int stride, Past *const *past, int rows, const Scratch &scratch) const;

private:
    void look_back(const float *x, const Past &past, float *y) const;

    const Kernels &kernels_;
    const int channels_, hidden_, kernel_, dilation_;
    std::vector<float> weight_, bias_, scale_;
    Norm norm_;
    Linear widen_, narrow_;
};

/// A residual minimal GRU: gate and candidate depend on the input alone.
class MinGru {
public:
    MinGru(const WeightSource &from, const std::string &name, int channels, int hidden);
    /// Advances `rows` vectors in place by one frame; `state` has `hidden` values for each row.
    void apply(float *x, int stride, float *const *state, int rows, const Scratch &scratch) const;

private:
    const Kernels &kernels_;
    const int channels_, hidden_;
    Norm norm_;
    Linear enter_, leave_;
};

}  // namespace rtsr
