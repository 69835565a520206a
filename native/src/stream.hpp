// OPEN FIRST. One stream: a hop of narrowband in, a hop of wideband out; in Python rtsr/stream.py and rtsr/dsp/path.py.
//
//     hop -+- frames -- network -- structure -- overlap-add -- resample --+
//          |                                                              + -- hop
//          +------- resample (linear phase, as long as the delay) --------+
//
// The lower path is what was received, delayed and nothing else; the upper path adds the band above the cutoff.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "band.hpp"
#include "frames.hpp"
#include "gate.hpp"
#include "mix.hpp"
#include "net.hpp"
#include "resample.hpp"
#include "structure.hpp"

namespace rtsr {

constexpr double MOST_GAIN_DB = 24;

/// An opened model: immutable, shared by any number of streams.
struct Model {
    Net net;
    const Kernels &kernels;

    const Spec &spec() const { return net.config().spec; }
    /// Of the files that a manifest ties together, or of their contents.
    static std::shared_ptr<const Model> open(const std::string &path, Precision precision, const Kernels &kernels);
    static std::shared_ptr<const Model> read(std::string_view manifest, const uint8_t *tensors, size_t size,
                                             Precision precision, const Kernels &kernels);
};

class Stream {
public:
    /// 0 stands for the model's rate. Refuses rates at which a hop is no whole number of samples.
    Stream(std::shared_ptr<const Model> model, int rate, int rate_out);

    /// Takes `hop` samples, gives `hop_out`. Never allocates, locks, throws or waits.
    void process(const float *block, float *out) noexcept;
    /// Forgets everything heard; the thread that calls `process`.
    void reset() noexcept;

    // Any thread, at any time; takes effect with the next hop. False, and nothing changed, for what cannot be.
    bool set_cutoff(double cutoff_hz) noexcept;  // 0 detects it
    bool set_gain(double gain_db) noexcept;
    void set_level(double factor) noexcept { gain_.store(factor, std::memory_order_relaxed); }  // what set_gain sets
    void set_bypass(bool bypass) noexcept { bypass_.store(bypass, std::memory_order_relaxed); }
    double cutoff_hz() const;
    /// What set_cutoff takes that is nearest to a cutoff; 0 for 0.
    double nearest_cutoff(double cutoff_hz) const {
        return cutoff_hz == 0 ? 0 : std::clamp(cutoff_hz, spec_.cutoff_min_hz, double(spec_.rate));
    }

    /// The thread that calls `process`.
    Gate &gate() { return gate_; }

    int delay() const { return delay_; }
    int latency() const { return hop_out + delay_; }

    const int rate, rate_out, hop, hop_out;

private:
    const float *analyse(const float *block);
    void generate(const float *spectrum);
    void synthesise(double gain, float *out);
    double cutoff_for_network(double cutoff) const;

    const std::shared_ptr<const Model> model_;
    const Spec spec_;
    std::optional<Resampler> wet_resampler_;
    const int delay_;
    Resampler dry_resampler_;
    Frames frames_;
    FineStructure structure_;
    OverlapAdd overlap_;
    CutoffTracker tracker_;
    Gate gate_;
    Row row_;
    Workspace space_;
    std::vector<float> hop_, received_, wet_, envelope_;
    float network_cutoff_hz_ = 0;
    double gain_now_ = 1;
    std::atomic<double> fixed_{0}, gain_{1}, detected_{0};
    std::atomic<bool> bypass_{false};
};

}  // namespace rtsr
