#include "worker.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#ifdef __linux__
#include <semaphore.h>
#endif

#include "denormals.hpp"

namespace rtsr {

namespace {

// As in rtsr/daemon/worker.py, where each is explained.
constexpr int BYPASS_FADE_HOPS = 2, MUTE_FADE_HOPS = 2, SWITCH_FADE_HOPS = 2;
constexpr int BEHIND_HOPS = 3;
constexpr double BEHIND_S = 0.1;
constexpr double RETRY_S = 1, RETRY_MOST_S = 30;
constexpr double WARM_UP_S = 0.8;
constexpr int CATCH_UP = 4;
constexpr double NAP_S = 0.0005, NAP_SHARE = 0.3;  // as in rtsr/io/shared_block.py

constexpr auto RELAXED = std::memory_order_relaxed;  // reports and wishes stand alone: nothing is published with them

int64_t load(const int64_t *count) { return __atomic_load_n(count, __ATOMIC_ACQUIRE); }
void store(int64_t *count, int64_t value) { __atomic_store_n(count, value, __ATOMIC_RELEASE); }

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double towards(double now, double wanted, double slope) { return now + std::clamp(wanted - now, -slope, slope); }

/// `samples` of a circular memory from `place` on; `act(memory, done, count)` sees each piece that lies together.
template <class Sample, class Act>
void pieces(Sample *memory, int64_t size, int64_t place, int64_t samples, Act act) {
    for (int64_t done = 0; done < samples;) {
        const int64_t at = ((place + done) % size + size) % size, count = std::min(samples - done, size - at);
        act(memory + at, done, count);
        done += count;
    }
}

int checked_rate(const Spec &spec, int rate) {
    if (rate < spec.rate || rate % spec.frames_per_s())
        invalid("expected a rate of at least " + std::to_string(spec.rate) + " Hz that is a multiple of " +
                std::to_string(spec.frames_per_s()) + " Hz, got " + std::to_string(rate) + " Hz");
    return rate;
}

}  // namespace

GatedStream::GatedStream(std::shared_ptr<const Model> model, int rate, double cutoff_hz, double sleep_db)
    : stream(std::move(model), rate, rate) {
    if (!stream.set_cutoff(cutoff_hz))
        invalid("expected a cutoff within the model's range in Hz, or 0, got " + std::to_string(cutoff_hz));
    stream.gate().set_sleep(sleep_db);
}

void GatedStream::follow(double to, bool resting) {
    if (to != wanted) {
        wanted = to;
        slope = std::abs(to - level) / BYPASS_FADE_HOPS;
    }
    if (level != wanted) {
        level = towards(level, wanted, slope);
        stream.set_level(level);
    }
    stream.gate().shut = resting || level == 0;
}

Worker::Worker(std::shared_ptr<const Model> model, int at_rate, double cutoff_hz, double sleep_db)
    : rate(checked_rate(model->spec(), at_rate)),
      hop(model->spec().hop_at(rate)),
      cutoff_hz_(cutoff_hz),
      sleep_db_(sleep_db),
      current_(std::make_unique<GatedStream>(std::move(model), rate, cutoff_hz, sleep_db)),
      latency_(current_->stream.latency() + Drift::DELAY),
      drift_(rate, hop),
      heard_(size_t(hop)),
      out_(size_t(hop)),
      other_(size_t(hop)),
      stretched_(size_t(hop + Drift::SPARE)),
      retry_s_(RETRY_S),
      cutoff_now_hz_(current_->stream.cutoff_hz()) {}

Worker::~Worker() {
    delete offered_.load();
    forget();
}

int64_t Worker::waiting() const { return load(shared_.heard) - *shared_.taken; }

void Worker::peek(int64_t place, float *out) const {
    pieces(shared_.input, shared_.input_size, place, hop,
           [&](const float *from, int64_t done, int64_t count) { std::copy(from, from + count, out + done); });
}

/// Appends what fits to the output ring and says how many samples of the input ring are done with.
void Worker::put(const float *block, int count, int64_t taken) noexcept {
    const int64_t made = *shared_.made, room = shared_.output_size - (made - load(shared_.played));
    const int64_t fits = std::clamp(room, int64_t(0), int64_t(count));
    pieces(shared_.output, shared_.output_size, made, fits,
           [&](float *to, int64_t done, int64_t part) { std::copy(block + done, block + done + part, to); });
    const int64_t done = *shared_.taken + taken;
    store(shared_.made, made + fits);
    store(shared_.shift, done - (latency_ - hop) - made - fits);
    store(shared_.taken, done);
}

bool Worker::step(double now_s) noexcept {
    if (waiting() < hop) {
        behind_since_ = now_s;
        return false;
    }
    const NoDenormals no_denormals;
    const double began = seconds_now();
    keep_up(now_s);
    peek(*shared_.taken, heard_.data());
    follow(*current_).stream.process(heard_.data(), out_.data());
    take_over();
    mute();
    if (relearn_.exchange(false, RELAXED)) drift_.relearn();
    put(stretched_.data(), drift_.process(out_.data(), stretched_.data()), hop);
    if (load(shared_.flowing) && waiting() < hop)  // catching up says nothing of clocks
        drift_.observe(*shared_.made - load(shared_.played));
    note(seconds_now() - began);
    return true;
}

void Worker::run() noexcept {
    while (!stopping_.load(RELAXED))
        if (!step(seconds_now())) wait();
}

/// Sleeps until a hop may be there, or `stop` was called.
void Worker::wait() const noexcept {
#ifdef __linux__
    if (shared_.semaphore) {
        sem_wait(static_cast<sem_t *>(shared_.semaphore));
        return;
    }
#endif
    const double lacking_s = double(hop - waiting()) / rate;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::max(NAP_S, NAP_SHARE * lacking_s)));
}

void Worker::stop() noexcept {
    stopping_ = true;
#ifdef __linux__
    if (shared_.semaphore) sem_post(static_cast<sem_t *>(shared_.semaphore));
#endif
}

/// Suspends the network for a while where hops pile up; after a long stall, drops what is too old.
void Worker::keep_up(double now_s) noexcept {
    const int64_t behind = waiting();
    if (hops_.load(RELAXED) == 0) behind_since_ = now_s;
    if (behind > shared_.input_size / 2) {
        const int64_t skipped = (behind / hop - BEHIND_HOPS) * hop;
        lost_.fetch_add(skipped, RELAXED);
        put(nullptr, 0, skipped);
    } else if (behind <= BEHIND_HOPS * hop + shared_.burst) {
        behind_since_ = now_s;
    } else if (now_s - behind_since_ > BEHIND_S && rest_until_ == 0) {
        rest_until_ = now_s + retry_s_;
        rest_s_.store(retry_s_, RELAXED);
        overloads_.fetch_add(1, RELAXED);
        retry_s_ = std::min(2 * retry_s_, RETRY_MOST_S);
    }
    if (rest_until_ > 0 && now_s >= rest_until_ && behind < 2 * hop)
        rest_until_ = 0;
    else if (rest_until_ == 0 && retry_s_ > RETRY_S)  // back to the start in about half a minute
        retry_s_ = std::max(RETRY_S, retry_s_ * (1 - double(hop) / rate / RETRY_MOST_S));
    resting_.store(rest_until_ > 0, RELAXED);
}

/// Applies the wishes to a stream, one hop of its fade.
GatedStream &Worker::follow(GatedStream &stream) const noexcept {
    stream.follow(bypass_.load(RELAXED) ? 0 : gain_.load(RELAXED), resting_.load(RELAXED));
    return stream;
}

/// Processes the hop at a stream's place, and drops the output.
void Worker::warm(GatedStream &stream, float *block) const noexcept {
    peek(stream.place, block);
    follow(stream).stream.process(block, block);
    stream.place += hop;
}

void Worker::switch_to(std::shared_ptr<const Model> model) {
    auto stream = std::make_unique<GatedStream>(std::move(model), rate, cutoff_hz_, sleep_db_);
    if (stream->stream.hop != hop || stream->stream.latency() + Drift::DELAY != latency_)
        invalid("expected a model with a latency of " + std::to_string(latency_ - Drift::DELAY) + " samples, got " +
                std::to_string(stream->stream.latency()));
    const int64_t taken = load(shared_.taken);
    std::vector<float> block(static_cast<size_t>(hop));
    stream->place = std::max(int64_t(0), taken - int64_t(WARM_UP_S * rate) / hop * hop);
    while (stream->place < taken) warm(*stream, block.data());
    forget();
    delete offered_.exchange(stream.release());
}

/// Brings the next stream up to date and cross-fades to it; the received band of both is the same to the bit.
void Worker::take_over() noexcept {
    if (!next_) next_.reset(offered_.exchange(nullptr));
    if (!next_) return;
    const int64_t now = *shared_.taken;
    for (int i = 0; i < CATCH_UP && next_->place < now; ++i) warm(*next_, other_.data());
    if (next_->place >= now) blend(*next_);
}

void Worker::blend(GatedStream &stream) noexcept {
    follow(stream).stream.process(heard_.data(), other_.data());
    stream.place += hop;
    for (int i = 0; i < hop; ++i) {
        const float share = float(double(fading_ * hop + i + 1) / (SWITCH_FADE_HOPS * hop));
        out_[size_t(i)] += share * (other_[size_t(i)] - out_[size_t(i)]);
    }
    if (++fading_ < SWITCH_FADE_HOPS) return;
    fading_ = 0;
    retire(current_.release());
    current_ = std::move(next_);
    switches_.fetch_add(1, RELAXED);
}

/// Fades to silence and back.
void Worker::mute() noexcept {
    const bool wished = mute_.load(RELAXED);
    store(shared_.muted, wished || loudness_ == 0);
    const double wanted = wished ? 0 : 1;
    if (loudness_ == 1 && wanted == 1) return;
    const double reached = towards(loudness_, wanted, 1.0 / MUTE_FADE_HOPS);
    for (int i = 0; i < hop; ++i) out_[size_t(i)] *= float(loudness_ + (reached - loudness_) * (i + 1) / hop);
    loudness_ = reached;
}

/// Puts a stream where another thread may free it.
void Worker::retire(GatedStream *stream) noexcept {
    stream->older = gone_.load(RELAXED);
    while (!gone_.compare_exchange_weak(stream->older, stream, std::memory_order_release, RELAXED)) {
    }
}

/// Frees the streams that were replaced; not the worker's thread.
void Worker::forget() noexcept {
    for (GatedStream *stream = gone_.exchange(nullptr); stream;) {
        GatedStream *older = stream->older;
        delete stream;
        stream = older;
    }
}

}  // namespace rtsr
