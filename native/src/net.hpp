// THE network: received spectra in, envelopes out, one frame a step; in Python rtsr/net/model.py.
#pragma once

#include <memory>
#include <vector>

#include "layers.hpp"
#include "manifest.hpp"

namespace rtsr {

/// The state of one stream in the network.
struct Row {
    explicit Row(const NetConfig &config);
    void reset();

    /// The states of the manifest in its order, oldest frame first: `size` floats.
    int size() const;
    void read(float *out) const;
    void write(const float *from);

    std::vector<Past> encoder, bottleneck, decoder;
    std::vector<float> memory;
};

class Net;

/// Where a step writes: the activations of at most `rows` streams, made once. One thread at a time.
class Workspace {
public:
    Workspace(const Net &net, int rows);
    const int rows;

private:
    friend class Net;
    Room room();

    int stride_;                             // of every activation, as wide as the widest
    std::vector<float> x_, one_, two_;       // (rows, stride)
    std::vector<char> room_;                 // of products
    std::vector<std::vector<float>> skips_;  // of every encoder level (rows, stride)
    std::vector<Past *> past_;
    std::vector<float *> memory_;
};

class Net {
public:
    /// Refuses as corrupt tensors that are not exactly those of the network that `config` describes.
    Net(const NetConfig &config, const WeightSource &from);

    /// Advances `count` rows, at most as many as the workspace has, by one frame: spectrum[r] (bins_in, 2), cutoff[r]
    /// in Hz, out[r] (bands), the natural log of each band's mean power. Allocates nothing.
    void step(Row *const *rows, int count, const float *const *spectrum, const float *cutoff, float *const *out,
              Workspace &space) const;

    /// A part of a step, for tests: one row's features (width_in).
    void features(const float *spectrum, float cutoff, float *out) const;

    const NetConfig &config() const { return config_; }
    int width_in() const { return 3 * config_.spec.bins_in() + config_.spec.bins_out(); }
    int widest() const;

private:
    friend class Workspace;
    void block(const Block &block, std::vector<Past> Row::*where, size_t level, Row *const *rows, int count,
               Workspace &space) const;
    void missing(float cutoff, float *out) const;

    const NetConfig config_;
    std::vector<float> hz_in_, hz_out_;
    std::vector<Block> encoder_, bottleneck_, decoder_;
    std::vector<Linear> down_, up_;
    std::unique_ptr<Linear> enter_, leave_;
    std::unique_ptr<MinGru> memory_;
    std::unique_ptr<Norm> norm_;
};

}  // namespace rtsr
