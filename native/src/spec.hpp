// Every size, rate and window length of a model, and what follows from them; in Python rtsr/spec.py.
#pragma once

#include <cmath>
#include <string>

#include "error.hpp"

namespace rtsr {

struct Spec {
    int rate = 0, hop = 0, history = 0, synthesis = 0;
    double cutoff_min_hz = 0, cutoff_max_hz = 0;

    int frames_per_s() const { return rate / hop; }
    int bins_in() const { return history / 2 + 1; }
    int bins_out() const { return synthesis / 2 + 1; }
    /// Bands of a frame's envelope: one equivalent rectangular bandwidth apart from 1 kHz up (Glasberg and Moore 1990).
    int bands() const {
        auto erb_rate = [](double hz) { return 21.4 * std::log10(1 + 0.00437 * hz); };
        return int(erb_rate(rate / 2.0) - erb_rate(1000)) + 1;
    }
    int overlap() const { return synthesis - hop; }

    /// One hop in samples at `rate`; refuses a rate at which it is no whole number.
    int hop_at(int at) const {
        if (at <= 0 || at % frames_per_s())
            invalid("expected a rate that is a multiple of " + std::to_string(frames_per_s()) + " Hz, got " +
                    std::to_string(at) + " Hz");
        return at / frames_per_s();
    }

    /// The analysis window in samples at `rate`.
    int history_at(int at) const { return hop_at(at) * (history / hop); }
};

}  // namespace rtsr
