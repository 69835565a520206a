// Two devices, two clocks: a slow correction that keeps the queue between them where it was; rtsr/daemon/drift.py.
#pragma once

#include <cstdint>
#include <vector>

namespace rtsr {

/// Resamples by a ratio within 0.1 % of one, steered by how full the queue behind it is. Learns the level while the
/// first seconds flow, then holds it. Equal clocks never make it begin, and what passes is a copy. One thread.
class Drift {
public:
    static constexpr int TAPS = 32;  // of the interpolating filter
    static constexpr int DELAY = TAPS / 2;
    static constexpr int SPARE = 4;  // samples by which a hop may grow

    Drift(int rate, int hop);

    /// Takes one hop and writes about one, at most hop + SPARE samples, DELAY samples late; returns how many.
    int process(const float *block, float *out);
    /// Takes note of the queue's level after a hop, and steers.
    void observe(int64_t ready);
    /// Learns anew which level is to be kept; the ratio found so far stays, clocks do not change.
    void relearn();

    double ratio() const { return ratio_; }
    /// By how much the input's clock is found to be faster, in parts per million.
    double ppm() const { return integral_ * 1e6; }

private:
    float at(double place) const;

    const int rate_, hop_;
    std::vector<float> branches_;  // (PHASES + 1, TAPS)
    std::vector<float> cells_;     // the last TAPS samples, then the hop
    double place_ = 1, ratio_ = 1, integral_ = 0;
    double seen_s_ = 0, total_ = 0, level_ = 0, target_ = 0;
    bool engaged_ = false;
};

}  // namespace rtsr
