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

void NetworkBatch::step(const NetworkStep &step) noexcept {
    join(*this, step);
    finish();
}

void NetworkBatch::join(NetworkBatch &leader, const NetworkStep &step) noexcept {
    const size_t in = 2 * size_t(model_->spec().bins_in()), made = size_t(model_->spec().bands());
    for (size_t r = 0; r < size_t(step.count); ++r) {
        float *out = step.out + r * made;
        if (step.active && !step.active[r]) {
            std::fill_n(out, made, 0.0f);
            continue;
        }
        const size_t place = leader.joined_++;
        leader.group_[place] = &rows_[r];
        leader.spectra_[place] = step.spectrum + r * in;
        leader.cutoffs_[place] = step.cutoff[r];
        leader.outs_[place] = out;
        if (leader.joined_ == leader.group_.size()) leader.finish();
    }
}

void NetworkBatch::finish() noexcept {
    const NoDenormals no_denormals;
    if (joined_) model_->net.step(group_.data(), int(joined_), spectra_.data(), cutoffs_.data(), outs_.data(), space_);
    joined_ = 0;
}

}  // namespace rtsr
