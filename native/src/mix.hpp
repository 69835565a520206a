// The two ends of the path: samples are cleaned as they arrive, the two bands are added as they leave; rtsr/dsp/mix.py.
#pragma once

namespace rtsr {

/// Copies a block with everything beyond full scale clipped to [-1, 1] and NaN set to 0.
void clean(const float *block, int samples, float *out);

/// out = received + gain * generated, the gain sliding over the block, clipped to full scale.
void mix(const float *received, const float *generated, double gain_from, double gain_to, int samples, float *out);

}  // namespace rtsr
