// Whether the network runs or rests: in silence, by bypass, and when the machine is too slow; rtsr/daemon/gate.py.
#pragma once

#include <cmath>

#include "spec.hpp"

namespace rtsr {

/// Checks every frame before it is skipped, so that the first one of an onset is already generated. One thread.
class Gate {
public:
    explicit Gate(const Spec &spec)
        : full_scale_(double(spec.history) * spec.history / 16),
          hold_frames_(int(std::lround(QUIET_S * spec.frames_per_s()))),
          bins_(spec.bins_in()) {}

    /// Below this level, relative to full scale, the network sleeps; never by default.
    void set_sleep(double sleep_db) { threshold_ = full_scale_ * std::pow(10.0, sleep_db / 10); }

    /// Takes one spectrum (bins_in, 2) and returns whether the network is to run.
    bool opens(const float *spectrum) {
        double power = 0;
        for (int k = 0; k < 2 * bins_; ++k) power += double(spectrum[k]) * double(spectrum[k]);
        quiet_ = power < threshold_ ? quiet_ + 1 : 0;
        const bool open = !shut && !asleep();
        rested += !open;
        return open;
    }

    bool asleep() const { return quiet_ > hold_frames_; }

    bool shut = false;
    int64_t rested = 0;  // frames that cost nothing

private:
    static constexpr double QUIET_S = 0.2;  // silence for so long before the network sleeps
    const double full_scale_;
    const int hold_frames_, bins_;
    double threshold_ = -1;
    int64_t quiet_ = 0;
};

}  // namespace rtsr
