#include "net.hpp"

#include <algorithm>
#include <cmath>

#include "structure.hpp"

namespace rtsr {

namespace {

/// Evenly spaced from 0 to `end`, rounded as torch.linspace rounds: a bin's place decides whether it was received.
std::vector<float> frequencies(double end, int count) {
    const double step = float(float(end) / float(count - 1));
    std::vector<float> hz(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i)
        hz[size_t(i)] = float(i < count / 2 ? step * i : end - step * (count - 1 - i));
    return hz;
}

std::string numbered(const char *name, size_t i) { return std::string(name) + "." + std::to_string(i); }

}  // namespace

Row::Row(const NetConfig &config) : memory(size_t(config.memory)) {
    for (size_t i = 0; i + 1 < config.widths.size(); ++i) {
        encoder.emplace_back((config.kernel - 1) * config.dilations[i], config.widths[i]);
        decoder.emplace_back((config.kernel - 1) * config.dilations[i], config.widths[i]);
    }
    for (int i = 0; i < config.bottleneck_blocks; ++i)
        bottleneck.emplace_back((config.kernel - 1) * (config.dilations.back() << i), config.widths.back());
}

void Row::reset() {
    for (auto *level : {&encoder, &bottleneck, &decoder})
        for (Past &past : *level) past.reset();
    std::fill(memory.begin(), memory.end(), 0.0f);
}

int Row::size() const {
    size_t total = memory.size();
    for (auto *level : {&encoder, &bottleneck, &decoder})
        for (const Past &past : *level) total += past.size();
    return int(total);
}

void Row::read(float *out) const {
    for (const Past &past : encoder) out = past.read(out);
    for (const Past &past : bottleneck) out = past.read(out);
    out = std::copy(memory.begin(), memory.end(), out);
    for (const Past &past : decoder) out = past.read(out);
}

void Row::write(const float *from) {
    for (Past &past : encoder) from = past.write(from);
    for (Past &past : bottleneck) from = past.write(from);
    std::copy_n(from, memory.size(), memory.begin());
    from += memory.size();
    for (Past &past : decoder) from = past.write(from);
}

Workspace::Workspace(const Net &net, int rows) : rows(rows), stride_(padded(net.widest())) {
    const size_t size = size_t(rows) * size_t(stride_);
    for (auto *buffer : {&x_, &one_, &two_}) buffer->resize(size);
    room_.resize(size_t(rows) * size_t(room_for(stride_)));
    skips_.assign(net.down_.size(), std::vector<float>(size));
    past_.resize(size_t(rows));
    memory_.resize(size_t(rows));
}

Room Workspace::room() { return {room_.data(), room_for(stride_)}; }

Net::Net(const NetConfig &config, const WeightSource &from) : config_(config) {
    const Spec &spec = config.spec;
    const auto &widths = config.widths;
    hz_in_ = frequencies(spec.rate / 2.0, spec.bins_in());
    hz_out_ = frequencies(spec.rate / 2.0, spec.bins_out());
    enter_ = std::make_unique<Linear>(from, "enter", width_in(), widths[0]);
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
        const int w = widths[i], hidden = config.hidden(w), next = widths[i + 1];
        encoder_.emplace_back(from, numbered("encoder", i), w, hidden, config.kernel, config.dilations[i]);
        down_.emplace_back(from, numbered("down", i), w, next);
        up_.emplace_back(from, numbered("up", i), w + next, w);
        decoder_.emplace_back(from, numbered("decoder", i), w, hidden, config.kernel, config.dilations[i]);
    }
    const int narrowest = widths.back();
    for (int i = 0; i < config.bottleneck_blocks; ++i)
        bottleneck_.emplace_back(from, numbered("bottleneck", size_t(i)), narrowest, config.hidden(narrowest),
                                 config.kernel, config.dilations.back() << i);
    memory_ = std::make_unique<MinGru>(from, "memory", narrowest, config.memory);
    norm_ = std::make_unique<Norm>(from, "norm", widths[0]);
    leave_ = std::make_unique<Linear>(from, "leave", widths[0], spec.bands());
    const size_t blocks = encoder_.size() + bottleneck_.size() + decoder_.size();
    const size_t expected = 9 * blocks + 2 * (down_.size() + up_.size()) + 2 + 6 + 2 + 2;
    if (from.tensors.count() != expected)
        corrupt("expected " + std::to_string(expected) + " tensors, got " + std::to_string(from.tensors.count()));
}

int Net::widest() const {
    int most = std::max({width_in(), padded(config_.spec.bands()), 2 * config_.memory});
    for (size_t i = 0; i < config_.widths.size(); ++i) {
        const int next = i + 1 < config_.widths.size() ? config_.widths[i + 1] : 0;
        most = std::max({most, config_.hidden(config_.widths[i]), config_.widths[i] + next});
    }
    return most;
}

void Net::block(const Block &block, std::vector<Past> Row::*where, size_t level, Row *const *rows, int count,
                Workspace &space) const {
    for (int r = 0; r < count; ++r) space.past_[size_t(r)] = &(rows[r]->*where)[level];
    block.apply(space.x_.data(), space.stride_, space.past_.data(), count,
                {space.stride_, space.one_.data(), space.two_.data(), space.room()});
}

void Net::step(Row *const *rows, int count, const float *const *spectrum, const float *cutoff, float *const *out,
               Workspace &space) const {
    const int stride = space.stride_;
    float *one = space.one_.data();
    auto linear = [&](const Linear &layer) {  // x to x, by way of `one`
        layer.apply(space.x_.data(), stride, one, stride, count, space.room());
        space.x_.swap(space.one_);
        one = space.one_.data();
    };
    for (int r = 0; r < count; ++r)
        features(spectrum[r], cutoff[r], space.x_.data() + long(r) * stride);
    linear(*enter_);
    for (size_t i = 0; i < encoder_.size(); ++i) {
        block(encoder_[i], &Row::encoder, i, rows, count, space);
        std::copy(space.x_.begin(), space.x_.begin() + long(count) * stride, space.skips_[i].begin());
        linear(down_[i]);
    }
    for (size_t i = 0; i < bottleneck_.size(); ++i) block(bottleneck_[i], &Row::bottleneck, i, rows, count, space);
    for (int r = 0; r < count; ++r) space.memory_[size_t(r)] = rows[r]->memory.data();
    memory_->apply(space.x_.data(), stride, space.memory_.data(), count,
                   {stride, one, space.two_.data(), space.room()});
    for (size_t i = encoder_.size(); i-- > 0;) {
        for (int r = 0; r < count; ++r) {
            const float *skip = space.skips_[i].data() + long(r) * stride;
            std::copy(skip, skip + config_.widths[i], space.x_.data() + long(r) * stride + config_.widths[i + 1]);
        }
        linear(up_[i]);
        block(decoder_[i], &Row::decoder, i, rows, count, space);
    }
    for (int r = 0; r < count; ++r) norm_->apply(space.x_.data() + long(r) * stride, one + long(r) * stride);
    leave_->apply(one, stride, space.x_.data(), stride, count, space.room());
    for (int r = 0; r < count; ++r) std::copy_n(space.x_.data() + long(r) * stride, config_.spec.bands(), out[r]);
}

/// Log-magnitude and unit phase of the received bins, zero above the cutoff, and where that is.
void Net::features(const float *spectrum, float cutoff, float *out) const {
    const int bins = config_.spec.bins_in();
    for (int k = 0; k < bins; ++k) {
        const float re = spectrum[2 * k], im = spectrum[2 * k + 1];
        const float power = re * re + im * im;
        const bool received = hz_in_[size_t(k)] < cutoff;
        const float unit = received ? 1.0f / std::sqrt(power + POWER_FLOOR) : 0.0f;
        out[k] = received ? std::log(power + POWER_FLOOR) / 6.0f + 1.0f : 0.0f;
        out[bins + 2 * k] = re * unit;
        out[bins + 2 * k + 1] = im * unit;
    }
    missing(cutoff, out + 3 * bins);
}

/// 0 for bins that were received and 1 for missing ones, rising over the last bin under the cutoff.
void Net::missing(float cutoff, float *out) const {
    const float width = float(config_.spec.rate) / float(config_.spec.synthesis);
    for (size_t k = 0; k < hz_out_.size(); ++k)
        out[k] = std::clamp((hz_out_[k] - cutoff) / width + 1.0f, 0.0f, 1.0f);
}

}  // namespace rtsr
