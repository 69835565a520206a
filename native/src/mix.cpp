#include "mix.hpp"

#include <algorithm>
#include <cmath>

namespace rtsr {

void clean(const float *block, int samples, float *out) {
    for (int i = 0; i < samples; ++i) out[i] = std::isnan(block[i]) ? 0.0f : std::clamp(block[i], -1.0f, 1.0f);
}

void mix(const float *received, const float *generated, double gain_from, double gain_to, int samples, float *out) {
    const double step = (gain_to - gain_from) / samples;
    for (int i = 0; i < samples; ++i) {
        const float x = received[i] + float(gain_from + step * (i + 1)) * generated[i];
        out[i] = std::clamp(x, -1.0f, 1.0f);
    }
}

}  // namespace rtsr
