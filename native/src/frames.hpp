// From hops to spectra and back: the analysis and the synthesis half of the path; rtsr/dsp/frames.py and overlap.py.
#pragma once

#include <vector>

#include "fft.hpp"
#include "spec.hpp"

namespace rtsr {

/// The only kind of synthesis window in a manifest; rtsr/dsp/windows.py.
constexpr const char *WINDOW = "sqrt-hann";

/// The synthesis window as one function of time, sampled at `rate` and divided by the ratio of the rates:
/// 2 * spec.hop_at(rate) samples.
std::vector<float> synthesis_window(const Spec &spec, int rate);

/// The recent past of one stream; each hop at `rate` gives the spectrum up to half of spec.rate. Bins that a low rate
/// does not have stay zero.
class Frames {
public:
    Frames(const Spec &spec, int rate);
    /// Takes one hop and returns the spectrum (bins_in, 2), valid until the next call.
    const float *push(const float *hop);
    /// The newest `samples` of what was heard.
    const float *newest(int samples) const { return history_.data() + history_.size() - size_t(samples); }
    void reset();

private:
    const int hop_, common_;
    Fft fft_;
    std::vector<float> window_, history_, frame_, bins_, spectrum_;
};

/// Windows and adds generated frames; each one completes the hop that began one hop before the newest.
class OverlapAdd {
public:
    explicit OverlapAdd(const Spec &spec);
    /// Takes a spectrum (bins_out, 2) and returns the completed hop, valid until the next call.
    const float *push(const float *generated);
    void reset();

private:
    const int hop_;
    Fft fft_;
    std::vector<float> window_, held_, frame_, out_;
};

}  // namespace rtsr
