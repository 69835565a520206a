// The network alone for many streams, for callers that do their own framing (rtsr_rows in the C ABI); the weights are
// read once for each group.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stream.hpp"

namespace rtsr {

/// What one step of a batch reads and writes, for its first `count` rows; without `active`, all are.
struct NetworkStep {
    int count;
    const float *spectrum, *cutoff;
    float *out;
    const uint8_t *active;
};

class NetworkBatch {
public:
    NetworkBatch(std::shared_ptr<const Model> model, int rows);
    /// Advances the active rows by one frame; the others keep their memory and get zeros. Allocates nothing.
    void step(const NetworkStep &step) noexcept;
    /// Adds the active rows of `step` to the group of `leader`, a batch of the same model, and runs it when it is full.
    void join(NetworkBatch &leader, const NetworkStep &step) noexcept;
    /// Runs those that have joined since.
    void finish() noexcept;
    const Row &row(int which) const { return rows_[size_t(which)]; }
    Row &row(int which) { return rows_[size_t(which)]; }

private:
    const std::shared_ptr<const Model> model_;
    std::vector<Row> rows_;
    Workspace space_;
    // the group that is stepped together
    size_t joined_ = 0;
    std::vector<Row *> group_;
    std::vector<const float *> spectra_;
    std::vector<float> cutoffs_;
    std::vector<float *> outs_;
};

}  // namespace rtsr
