// What other threads read of a worker and set in it: relaxed atomics, each of which stands alone.
#include <algorithm>
#include <cmath>

#include "worker.hpp"

namespace rtsr {

namespace {

constexpr auto RELAXED = std::memory_order_relaxed;

}  // namespace

/// Publishes what `report` reads.
void Worker::note(double seconds) noexcept {
    const int64_t hops = hops_.load(RELAXED);
    times_[size_t(hops % KEPT)].store(float(seconds), RELAXED);
    hops_.store(hops + 1, std::memory_order_release);
    if (seconds * rate > hop) late_.fetch_add(1, RELAXED);
    const Gate &gate = current_->stream.gate();
    rested_.store(gate.rested, RELAXED);
    asleep_.store(gate.asleep(), RELAXED);
    cutoff_now_hz_.store(current_->stream.cutoff_hz(), RELAXED);
    level_.store(current_->level, RELAXED);
    ratio_.store(drift_.ratio(), RELAXED);
    ppm_.store(drift_.ppm(), RELAXED);
}

bool Worker::wish(double gain_db, bool bypass, bool mute) noexcept {
    if (!(gain_db <= MOST_GAIN_DB)) return false;
    gain_.store(std::pow(10.0, gain_db / 20), RELAXED);
    bypass_.store(bypass, RELAXED);
    mute_.store(mute, RELAXED);
    return true;
}

rtsr_worker_report Worker::report() const noexcept {
    rtsr_worker_report report{};
    report.hops = hops_.load(RELAXED);
    report.late = late_.load(RELAXED);
    report.lost = lost_.load(RELAXED);
    report.overloads = overloads_.load(RELAXED);
    report.rested = rested_.load(RELAXED);
    report.switches = switches_.load(RELAXED);
    report.rest_s = rest_s_.load(RELAXED);
    report.cutoff_hz = cutoff_now_hz_.load(RELAXED);
    report.level = level_.load(RELAXED);
    report.ratio = ratio_.load(RELAXED);
    report.drift_ppm = ppm_.load(RELAXED);
    report.asleep = asleep_.load(RELAXED);
    report.resting = resting_.load(RELAXED);
    return report;
}

int Worker::times(float *seconds, int most) const noexcept {
    const int count = int(std::min({int64_t(most), int64_t(KEPT), hops_.load(std::memory_order_acquire)}));
    for (int i = 0; i < count; ++i) seconds[i] = times_[size_t(i)].load(RELAXED);
    return std::max(count, 0);
}

}  // namespace rtsr
