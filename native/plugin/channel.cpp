#include "channel.hpp"

#include <algorithm>

namespace {

constexpr double WARM_S = 0.5, FADE_S = 0.01;

}  // namespace

Channel::Channel(const std::shared_ptr<const rtsr::Model> *opened, int rate, std::string &refused)
    : warm_(int(WARM_S * rate)), fade_(int(FADE_S * rate)), in_(PIECE), out_(PIECE), other_(PIECE) {
    paths_[models::WIDEBAND] = std::make_unique<Path>(opened[models::WIDEBAND], rate);
    try {
        if (opened[models::FULLBAND])
            paths_[models::FULLBAND] = std::make_unique<Path>(opened[models::FULLBAND], rate);
    } catch (const std::exception &error) {
        refused = error.what();
    }
    for (auto &engine : paths_)
        if (engine) latency_ = std::max(latency_, engine->path.latency());
    for (auto &engine : paths_)
        if (engine) engine->late.resize(size_t(latency_ - engine->path.latency()));
}

void Channel::process(const float *in, float *out, int samples) noexcept {
    for (int done = 0; done < samples; done += PIECE) {
        const int count = std::min(samples - done, PIECE);
        std::copy_n(in + done, count, in_.data());
        run(*paths_[now_], in_.data(), out_.data(), count);
        if (next_ != now_) blend(out_.data(), count);
        std::copy_n(out_.data(), count, out + done);
    }
}

void Channel::run(Path &one, const float *in, float *out, int samples) noexcept {
    one.path.process(in, samples, out);
    if (one.late.empty()) return;
    for (int i = 0; i < samples; ++i) {
        std::swap(out[i], one.late[one.place]);
        one.place = (one.place + 1) % one.late.size();
    }
}

/// Lets the next one hear what the present one does, then speak.
void Channel::blend(float *out, int samples) noexcept {
    run(*paths_[next_], in_.data(), other_.data(), samples);
    for (int i = 0; i < samples; ++i) {
        const float share = std::max(float(++heard_ - warm_) / float(fade_), 0.0f);
        out[i] = share < 1 ? out[i] + share * (other_[size_t(i)] - out[i]) : other_[size_t(i)];
    }
    if (heard_ >= warm_ + fade_) now_ = next_;
}

void Channel::choose(models::Which which) noexcept {
    if (!paths_[which] || which == next_ || next_ != now_) return;
    Path &one = *paths_[which];
    one.path.reset();
    std::fill(one.late.begin(), one.late.end(), 0.0f);
    next_ = which;
    heard_ = 0;
}

void Channel::reset() noexcept {
    now_ = next_;
    for (auto &engine : paths_)
        if (engine) {
            engine->path.reset();
            std::fill(engine->late.begin(), engine->late.end(), 0.0f);
        }
}
