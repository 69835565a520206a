#include "network_batch.hpp"

#include <algorithm>

#include "denormals.hpp"

namespace rtsr {

namespace {

constexpr int GROUP = 16;  // rows whose activations stay in the nearest caches while a panel of weights serves them all

}  // namespace

NetworkBatch::NetworkBatch(std::shared_ptr<const Model> model, int rows)
    : model_(std::move(model)), space_(model_->net, std::min(rows, GROUP)) {
    rows_.assign(size_t(rows), Row(model_->net.config()));
    const auto size = size_t(space_.rows);
    group_.resize(size);
    spectra_.resize(size);
    cutoffs_.resize(size);
    outs_.resize(size);
}

void NetworkBatch::step(int rows, const float *spectrum, const float *cutoff, float *out, const uint8_t *active) noexcept {
    const NoDenormals no_denormals;
    const size_t in = 2 * size_t(model_->spec().bins_in()), made = size_t(model_->spec().bands());
    size_t count = 0;
    for (size_t r = 0; r < size_t(rows); ++r) {
        if (active && !active[r]) {
            std::fill_n(out + r * made, made, 0.0f);
            continue;
        }
        group_[count] = &rows_[r];
        spectra_[count] = spectrum + r * in;
        cutoffs_[count] = cutoff[r];
        outs_[count] = out + r * made;
        if (++count == group_.size()) {
            run(count);
            count = 0;
        }
    }
    if (count) run(count);
}

void NetworkBatch::run(size_t count) {
    model_->net.step(group_.data(), int(count), spectra_.data(), cutoffs_.data(), outs_.data(), space_);
}

}  // namespace rtsr
