#include "drift.hpp"

#include <algorithm>
#include <cmath>

#include "resample.hpp"

namespace rtsr {

namespace {

// As in rtsr/daemon/drift.py, where each is explained.
constexpr int PHASES = 512;
constexpr double SETTLE_S = 2, LEARN_S = 2;
constexpr double SMOOTH_S = 1;
constexpr double CALM_S = 0.001;
constexpr double OMEGA = 0.1;
constexpr double MOST = 1e-3;
constexpr double BETA = 9;

double within(double x, double most) { return std::clamp(x, -most, most); }

/// Windowed sincs for every fraction of a sample, (PHASES + 1, TAPS); the first is a unit impulse.
std::vector<float> make_branches() {
    std::vector<float> branches;
    for (int phase = 0; phase <= PHASES; ++phase) {
        double row[Drift::TAPS], sum = 0;
        for (int k = 0; k < Drift::TAPS; ++k) {
            const double t = k - (Drift::DELAY - 1) - double(phase) / PHASES, along = t / Drift::DELAY;
            sum += row[k] = sinc(t) * bessel0(BETA * std::sqrt(std::clamp(1 - along * along, 0.0, 1.0)));
        }
        for (double tap : row) branches.push_back(float(tap / sum));
    }
    return branches;
}

}  // namespace

Drift::Drift(int rate, int hop)
    : rate_(rate), hop_(hop), branches_(make_branches()), cells_(size_t(TAPS + hop)) {}

int Drift::process(const float *block, float *out) {
    std::copy(cells_.end() - TAPS, cells_.end(), cells_.begin());
    std::copy(block, block + hop_, cells_.begin() + TAPS);
    int count = 0;
    for (; place_ + TAPS <= double(cells_.size()) && count < hop_ + SPARE; place_ += ratio_) out[count++] = at(place_);
    place_ -= hop_;
    return count;
}

/// What lies DELAY - 1 samples after this place, between the samples where it has to.
float Drift::at(double place) const {
    const int first = int(place);
    const double fine = (place - first) * PHASES;
    const float *heard = cells_.data() + first;
    if (fine == 0) return heard[DELAY - 1];
    const float *branch = branches_.data() + int(fine) * TAPS;
    const float part = float(fine - int(fine));
    float total = 0;
    for (int k = 0; k < TAPS; ++k) total += (branch[k] + part * (branch[k + TAPS] - branch[k])) * heard[k];
    return total;
}

void Drift::observe(int64_t ready) {
    const double level = double(ready) / rate_, step = double(hop_) / rate_;
    if (seen_s_ < SETTLE_S + LEARN_S) {
        seen_s_ += step;
        total_ += seen_s_ > SETTLE_S ? level * step : 0;
        level_ = target_ = total_ / LEARN_S;
        return;
    }
    level_ += (level - level_) * step / SMOOTH_S;
    const double error = level_ - target_;
    engaged_ |= std::abs(error) > CALM_S;
    if (!engaged_) return;
    integral_ = within(integral_ + OMEGA * OMEGA * error * step, MOST);
    ratio_ = 1 + within(integral_ + 2 * OMEGA * error, MOST);
}

void Drift::relearn() { seen_s_ = total_ = level_ = target_ = 0; }

}  // namespace rtsr
