// The inner loops, compiled once for each instruction set and chosen when a model is opened.
#pragma once

#include <cstdint>

namespace rtsr {

/// How weights are kept in memory, in the order of rtsr_precision; sums over inputs are floats in each.
enum class Precision { FLOAT32, BF16, INT8 };

/// Outputs that lie side by side in packed weights, in every instruction set.
constexpr int PANEL = 16;
/// What is added to a weight of INT8, so that its byte is unsigned.
constexpr int OFFSET = 128;
/// Inputs whose products are added up before they are added to the others; with INT8 they share an output's scale.
constexpr int SPAN = 64;

/// y = W x + b for `rows` vectors; y has room for whole panels. A panel is (inputs, PANEL) weights, an odd number of
/// inputs padded by one; with BF16 (inputs / 2, PANEL, 2), so that two inputs of an output are neighbours; with INT8
/// each span begins with PANEL floats, its scales, and then has (inputs / 4, PANEL, 4) bytes. `room` is for what INT8
/// makes of a vector, `room_stride` bytes for each, which `room_for` says.
struct Product {
    const void *panels;
    long panel_bytes;
    const float *bias;  // whole panels
    int in, panels_count;
    const float *x;
    int x_stride;
    float *y;
    int y_stride;
    int rows;
    char *room;
    long room_stride;
};

/// Bytes of room for a vector of `in` values, in whole cache lines.
long room_for(int in);

struct Kernels {
    const char *name;
    void (*product[3])(const Product &);  // of each precision
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
extern const Kernels KERNELS_VNNI;
#endif

/// How many sets of kernels this processor runs, and the one of that place; the last is the fastest.
int kernels_count();
const Kernels &kernels(int which);
inline const Kernels &kernels() { return kernels(kernels_count() - 1); }

}  // namespace rtsr
