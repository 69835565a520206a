// The generated band: the fine structure of the received band under the envelope that the network gives;
// in Python rtsr/dsp/structure.py and rtsr/dsp/envelope.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fft.hpp"
#include "kernels.hpp"
#include "spec.hpp"

namespace rtsr {

/// What a band of an envelope holds where nothing is to be generated.
constexpr float NOTHING = -100.0f;
/// Added to powers before a logarithm; about -120 dB of a full-scale frame.
constexpr float POWER_FLOOR = 1e-9f;

/// Overlapping triangular bands, one equivalent rectangular bandwidth apart, over the bins of a generated frame.
struct Bands {
    explicit Bands(const Spec &spec);

    int count, first_bin = 0;
    std::vector<int> lower;       // (bins_out): the band whose centre lies next below
    std::vector<float> fraction;  // (bins_out): how far on the way to the next centre, 0 to 1
    std::vector<float> weight;    // (count): 1 over the sum of a band's triangle
};

/// A number below 256 that looks random: an integer hash of frame and bin, the phase of the noise there.
size_t phase_index(int64_t frame, int bin);

/// Makes the generated spectrum of what was received in the last two hops and of an envelope. A frame is taken at the
/// input's own rate.
class FineStructure {
public:
    FineStructure(const Spec &spec, int rate, const Kernels &kernels);

    /// `newest` ends with the last two hops, `size()` samples; envelope (bands) is the natural log of each band's mean
    /// power. Returns a spectrum (bins_out, 2), zero below the cutoff, valid until the next call. Allocates nothing.
    const float *push(const float *newest, const float *envelope, float cutoff_hz);
    void reset() { frame_ = 0; }
    int size() const { return int(window_.size()); }

private:
    float audible() const;
    void normalise(int edge);
    void levels(const float *envelope, float cutoff_hz, int edge);

    const Bands bands_;
    const double bin_hz_, silence_;
    const int common_;  // bins that both the received and the generated frame have
    const Kernels &kernels_;
    Fft fft_;
    std::vector<float> window_, windowed_, short_, gains_, copied_, noise_, missing_, generated_;
    int64_t frame_ = 0;  // how many came before: the place of the noise, and the phase of the copies
};

}  // namespace rtsr
