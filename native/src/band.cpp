#include "band.hpp"

#include <algorithm>
#include <cmath>

namespace rtsr {

namespace {

// As in rtsr/dsp/band.py, where each is explained.
constexpr double BAND_HZ = 100.0;
constexpr double ACTIVE_DB = -65.0;
constexpr double EMPTY_DB = -55.0;
constexpr double EMPTY_BELOW_DBFS = -95.0;
constexpr double CLIFF_DB = 13.0;
constexpr int LEAK_BANDS = 8;
constexpr double OCCUPIED = 0.75;
constexpr double FULL_DB = -40.0;
constexpr double TONE = 0.95;
constexpr double CLICK_BANDS = 0.6, CLICK_S = 0.075, CLICK_END = 0.25;
constexpr double RELEASE_DB_PER_S = 10.0;
constexpr double SETTLE_S = 0.15;
constexpr double WIDEN_S = 0.3, NARROW_S = 1.0;
constexpr double SAME_HZ = 250.0;

double power_of(double db) { return std::pow(10.0, db / 10); }

}  // namespace

CutoffTracker::CutoffTracker(const Spec &spec, int rate)
    : nyquist_(std::min(rate, spec.rate) / 2.0),
      full_scale_(double(spec.history) * spec.history / 16),
      least_hz_(spec.cutoff_min_hz),
      most_hz_(spec.cutoff_max_hz),
      frames_per_s_(spec.frames_per_s()),
      per_band_(int(std::nearbyint(BAND_HZ * spec.history / spec.rate))),
      bands_(int(nyquist_ / BAND_HZ)),
      smoothed_(size_t(bands_)),
      before_(size_t(bands_)),
      held_(size_t(bands_)) {
    if (per_band_ * bands_ + 1 > spec.bins_in())
        invalid("expected analysis bins that divide bands of " + std::to_string(BAND_HZ) + " Hz evenly");
    reset();
}

double CutoffTracker::push(const float *spectrum) {
    const double forget = power_of(-RELEASE_DB_PER_S / frames_per_s_);
    const double total = measure(spectrum);
    loudest_ = std::max(loudest_ * forget, total);
    if (total < std::max(power_of(ACTIVE_DB), loudest_ * 1e-4)) return cutoff_;
    const double strongest = hold(forget);
    floor_ = std::max(strongest * power_of(EMPTY_DB), power_of(EMPTY_BELOW_DBFS));
    const int edge = find_edge();
    const double found = edge * BAND_HZ;
    if (edge <= 0) {
        if (-found > cutoff_ + SAME_HZ) consider(bands_ * BAND_HZ);  // no cliff, and something above the cutoff
    } else if (found >= least_hz_ && is_full(edge, std::max(floor_, strongest * power_of(FULL_DB)))) {
        const double heard = found > most_hz_ ? bands_ * BAND_HZ : found;
        if (heard >= cutoff_ || !is_tone()) consider(heard);
    }
    return cutoff_;
}

/// Smooths the power of every band, without clicks; returns the frame's total.
double CutoffTracker::measure(const float *spectrum) {
    const double level = floor_ * (click_ > 0 ? CLICK_END : 1);
    double total = 0;
    int sounding = 0;
    for (int b = 0; b < bands_; ++b) {
        double power = 0;
        for (int k = 1 + b * per_band_; k < 1 + (b + 1) * per_band_; ++k) {
            const float re = spectrum[2 * k], im = spectrum[2 * k + 1];
            power += double(re * re + im * im);
        }
        power /= full_scale_;
        smoothed_[size_t(b)] += 0.25 * (power - smoothed_[size_t(b)]);
        sounding += power > level;
        total += power;
    }
    forget_clicks(sounding >= CLICK_BANDS * bands_);
    return total;
}

/// Counts the frames in which most bands sound, and takes back what they left where they were too few for a hiss.
void CutoffTracker::forget_clicks(bool full) {
    if (full) {
        if (click_ == 0) before_ = held_;
        ++click_;
        return;
    }
    if (click_ > 0 && click_ < CLICK_S * frames_per_s_)
        for (size_t b = 0; b < held_.size(); ++b) {
            held_[b] = std::min(held_[b], before_[b]);
            smoothed_[b] = std::min(smoothed_[b], held_[b]);
        }
    click_ = 0;
}

/// Keeps every band's loudest of late; returns the loudest band's.
double CutoffTracker::hold(double forget) {
    double strongest = 0;
    for (size_t b = 0; b < held_.size(); ++b) {
        held_[b] = std::max(held_[b] * forget, smoothed_[b]);
        strongest = std::max(strongest, held_[b]);
    }
    return strongest;
}

/// How many bands were received, or minus the highest one where the held spectrum ends in no cliff: the steepest drop
/// over two bands just below the highest band above the floor.
int CutoffTracker::find_edge() const {
    int top = bands_;
    while (top > 0 && held_[size_t(top - 1)] <= floor_) --top;
    if (top == bands_) return top;
    int edge = -top;
    double steepest = power_of(CLIFF_DB);
    for (int b = std::max(top - LEAK_BANDS, 1); b <= top; ++b) {
        const double drop = held_[size_t(b - 1)] / (held_[size_t(std::min(b + 1, bands_ - 1))] + 1e-20);
        if (drop > steepest) edge = b, steepest = drop;
    }
    return edge;
}

/// Whether most bands below the edge are above the floor, as a voice's are; a tone's are not.
bool CutoffTracker::is_full(int edge, double floor) const {
    const auto occupied = std::count_if(held_.begin(), held_.begin() + edge, [&](double b) { return b > floor; });
    return double(occupied) >= OCCUPIED * edge;
}

/// Whether three neighbouring bands hold nearly all power of late, as those around a tone do, a swept one too.
bool CutoffTracker::is_tone() const {
    double total = 0, most = 0;
    for (size_t b = 0; b < smoothed_.size(); ++b) {
        total += smoothed_[b];
        if (b >= 2) most = std::max(most, smoothed_[b - 2] + smoothed_[b - 1] + smoothed_[b]);
    }
    return most > TONE * total;
}

/// Moves the cutoff when another has stood long enough.
void CutoffTracker::consider(double found) {
    if (std::abs(found - candidate_) > SAME_HZ) {
        candidate_ = found;
        standing_ = 0;
    }
    standing_ += 1;
    double hold_s = candidate_ > cutoff_ ? WIDEN_S : NARROW_S;
    if (!settled_) hold_s = SETTLE_S;
    if (standing_ < hold_s * frames_per_s_) return;
    settled_ = true;
    if (std::abs(candidate_ - cutoff_) > SAME_HZ) cutoff_ = candidate_;
}

void CutoffTracker::reset() {
    std::fill(smoothed_.begin(), smoothed_.end(), 0.0);
    std::fill(held_.begin(), held_.end(), 0.0);
    std::fill(before_.begin(), before_.end(), 0.0);
    floor_ = power_of(EMPTY_BELOW_DBFS);
    click_ = 0;
    loudest_ = standing_ = 0;
    candidate_ = cutoff_ = nyquist_;
    settled_ = false;
}

}  // namespace rtsr
