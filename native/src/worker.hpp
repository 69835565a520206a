// The worker: takes hops from the input ring, enhances them, and writes them to the output ring in real time; the twin
// of rtsr/daemon/worker.py.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "drift.hpp"
#include "rtsr_worker.h"
#include "stream.hpp"

namespace rtsr {

/// One model's stream at one rate: each hop of the input gives exactly one hop. One thread at a time.
struct GatedStream {
    GatedStream(std::shared_ptr<const Model> model, int rate, double cutoff_hz, double sleep_db);
    /// Moves the gain of the generated band a hop nearer to `wanted`; it arrives after BYPASS_FADE_HOPS.
    void follow(double wanted, bool resting);

    Stream stream;
    int64_t place = 0;               // on the input ring, while it is warming up
    double level = 1, wanted = 1;    // of the generated band, factors
    double slope = 0;
    GatedStream *older = nullptr;    // among those that were replaced
};

class Worker {
public:
    Worker(std::shared_ptr<const Model> model, int rate, double cutoff_hz, double sleep_db);
    ~Worker();

    void connect(const rtsr_shared_block &shared) { shared_ = shared; }

    // The worker's thread; never allocates, frees, locks or throws.
    bool step(double now_s) noexcept;
    void run() noexcept;

    // Any thread, at any time.
    void stop() noexcept;
    bool wish(double gain_db, bool bypass, bool mute) noexcept;
    void relearn() noexcept { relearn_ = true; }
    rtsr_worker_report report() const noexcept;
    int times(float *seconds, int most) const noexcept;

    // Any thread but the worker's.
    void switch_to(std::shared_ptr<const Model> model);

    int latency() const { return latency_; }

    const int rate, hop;

private:
    static constexpr int KEPT = 4096;  // hops of which the computing time is known

    int64_t waiting() const;
    void wait() const noexcept;
    void peek(int64_t place, float *out) const;
    void put(const float *block, int count, int64_t taken) noexcept;
    void keep_up(double now_s) noexcept;
    GatedStream &follow(GatedStream &stream) const noexcept;
    void warm(GatedStream &stream, float *block) const noexcept;
    void take_over() noexcept;
    void blend(GatedStream &stream) noexcept;
    void mute() noexcept;
    void note(double seconds) noexcept;
    void retire(GatedStream *stream) noexcept;
    void forget() noexcept;

    const double cutoff_hz_, sleep_db_;
    std::unique_ptr<GatedStream> current_, next_;
    const int latency_;
    Drift drift_;
    rtsr_shared_block shared_{};
    std::vector<float> heard_, out_, other_, stretched_;
    int fading_ = 0;       // hops of the fade to `next_` that are done
    double loudness_ = 1;  // 0 while muted
    double behind_since_ = 0, rest_until_ = 0, retry_s_;

    std::atomic<double> gain_{1};
    std::atomic<bool> bypass_{false}, mute_{false}, stopping_{false}, relearn_{false};
    std::atomic<GatedStream *> offered_{nullptr}, gone_{nullptr};  // to the worker, and back from it: the worker frees nothing

    // Written by the worker, read by anyone.
    std::atomic<int64_t> hops_{0}, late_{0}, lost_{0}, overloads_{0}, rested_{0}, switches_{0};
    std::atomic<double> rest_s_{0}, cutoff_now_hz_{0}, level_{1}, ratio_{1}, ppm_{0};
    std::atomic<bool> asleep_{false}, resting_{false};
    std::array<std::atomic<float>, KEPT> times_{};
};

}  // namespace rtsr
