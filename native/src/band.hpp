// Where the received band ends; rtsr/dsp/band.py.
#pragma once

#include <vector>

#include "spec.hpp"

namespace rtsr {

/// Watches received spectra and says where their band ends, in Hz; slow to change its mind. Bands of 100 Hz keep their
/// loudest level of the last seconds; the cutoff is where this held spectrum drops steeply below bands that are
/// empty. A click is forgotten as soon as it is over. The cutoff moves once the same answer stood long enough, in
/// speech. Until then it is half of the input's rate.
class CutoffTracker {
public:
    CutoffTracker(const Spec &spec, int rate);
    /// Takes one spectrum (bins_in, 2) and returns the cutoff in Hz.
    double push(const float *spectrum);
    double cutoff_hz() const { return cutoff_; }
    void reset();

private:
    double measure(const float *spectrum);
    void forget_clicks(bool full);
    double hold(double forget);
    int find_edge() const;
    bool is_full(int edge, double floor) const;
    bool is_tone() const;
    void consider(double found);

    const double nyquist_, full_scale_, least_hz_, most_hz_, frames_per_s_;
    const int per_band_, bands_;
    std::vector<double> smoothed_, before_, held_;
    int click_ = 0;  // frames in a row in which most bands sound
    double floor_ = 0, loudest_ = 0, candidate_ = 0, standing_ = 0, cutoff_ = 0;
    bool settled_ = false;
};

}  // namespace rtsr
