// The network alone for many streams, for callers that do their own framing (rtsr_rows in the C ABI); the weights are
// read once for each group.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stream.hpp"

namespace rtsr {

class NetworkBatch {
public:
    NetworkBatch(std::shared_ptr<const Model> model, int rows);
    /// Advances the active ones of the first `count` rows by one frame; the others keep their memory and get zeros.
    /// Allocates nothing.
    void step(int count, const float *spectrum, const float *cutoff, float *out, const uint8_t *active) noexcept;
    const Row &row(int which) const { return rows_[size_t(which)]; }
    Row &row(int which) { return rows_[size_t(which)]; }

private:
    void run(size_t count);

    const std::shared_ptr<const Model> model_;
    std::vector<Row> rows_;
    Workspace space_;
    // the group that is stepped together
    std::vector<Row *> group_;
    std::vector<const float *> spectra_;
    std::vector<float> cutoffs_;
    std::vector<float *> outs_;
};

}  // namespace rtsr
