// The inner loops, compiled once for each instruction set and chosen when a model is opened.
#pragma once

#include <cstdint>

namespace rtsr {

/// Outputs that lie side by side in packed weights, in every instruction set: (panels, inputs, PANEL).
constexpr int PANEL = 16;

/// y = W x + b for `rows` vectors; y has room for whole panels.
struct Product {
    const void *panels;  // float or bfloat16
    const float *bias;   // whole panels
    int in, panels_count;
    const float *x;
    int x_stride;
    float *y;
    int y_stride;
    int rows;
};

struct Kernels {
    const char *name;
    void (*product_single)(const Product &);
    void (*product_bf16)(const Product &);
    /// y[c] = bias[c] + sum over t of frames[t][c] * weight[t][c]
    void (*depthwise)(const float *const *frames, int kernel, const float *weight, const float *bias, int channels,
                      float *y);
    /// y = (x - mean) / deviation * gain + bias
    void (*norm)(const float *x, const float *gain, const float *bias, int channels, float *y);
    /// x = GELU(x), in its tanh form
    void (*gelu)(float *x, int count);
    /// x = exp(x)
    void (*exp)(float *x, int count);
    /// state = (1 - sigmoid(gate)) * state + sigmoid(gate) * candidate
    void (*blend)(const float *gate, const float *candidate, float *state, int count);
    /// x += scale * y
    void (*add_scaled)(const float *scale, const float *y, float *x, int count);
    float (*dot)(const float *a, const float *b, int count);
};

extern const Kernels KERNELS_BASE;
#if defined(__x86_64__)
extern const Kernels KERNELS_AVX2;
extern const Kernels KERNELS_AVX512;
#endif

/// How many sets of kernels this processor runs, and the one of that place; the last is the fastest.
int kernels_count();
const Kernels &kernels(int which);
inline const Kernels &kernels() { return kernels(kernels_count() - 1); }

}  // namespace rtsr
