// The loops themselves, included once by each kernels_*.cpp. Nothing here may be shared between instruction sets, so
// everything is in an unnamed namespace and no header with inline functions is included.
//
// The including file defines LANES (floats in a register), CHAINS (sums that hide the multiplier's latency) and
// ROWS_AT_ONCE (vectors that share one reading of the weights, as many as registers hold).

#include "kernels.hpp"

namespace rtsr {
namespace {

typedef float Lane __attribute__((vector_size(4 * LANES), may_alias));
typedef float LooseLane __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), may_alias));

constexpr int PARTS = PANEL / LANES;

inline Lane load(const float *at) { return *reinterpret_cast<const Lane *>(at); }

/// bfloat16 is the upper half of a float.
inline Lane load(const uint16_t *at) {
    const Bits bits = __builtin_convertvector(*reinterpret_cast<const Halves *>(at), Bits) << 16;
    return reinterpret_cast<Lane>(bits);
}

/// One panel of outputs for ROWS vectors. A row's sums do not depend on ROWS: a row gives the same bits in any batch.
template <int ROWS, class Weight>
inline void panel(const Weight *w, const float *bias, int in, const float *x, int x_stride, float *y, int y_stride) {
    Lane sum[ROWS][CHAINS][PARTS] = {};
    int k = 0;
    for (; k + CHAINS <= in; k += CHAINS)
#pragma GCC unroll 8
        for (int c = 0; c < CHAINS; ++c)
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) {
                const Lane weight = load(w + (k + c) * PANEL + p * LANES);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; ++r) sum[r][c][p] += weight * x[r * x_stride + k + c];
            }
    for (; k < in; ++k)
#pragma GCC unroll 8
        for (int p = 0; p < PARTS; ++p) {
            const Lane weight = load(w + k * PANEL + p * LANES);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; ++r) sum[r][0][p] += weight * x[r * x_stride + k];
        }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
        for (int p = 0; p < PARTS; ++p) {
            Lane total = sum[r][0][p];
            for (int c = 1; c < CHAINS; ++c) total += sum[r][c][p];
            *reinterpret_cast<LooseLane *>(y + r * y_stride + p * LANES) = total + load(bias + p * LANES);
        }
}

template <class Weight>
void product(const Product &job) {
    const Weight *w = static_cast<const Weight *>(job.panels);
    for (int n = 0; n < job.panels_count; ++n, w += long(job.in) * PANEL) {
        const float *bias = job.bias + n * PANEL;
        float *y = job.y + n * PANEL;
        int r = 0;
        for (; r + ROWS_AT_ONCE <= job.rows; r += ROWS_AT_ONCE)
            panel<ROWS_AT_ONCE>(w, bias, job.in, job.x + long(r) * job.x_stride, job.x_stride,
                                y + long(r) * job.y_stride, job.y_stride);
        for (; r < job.rows; ++r)
            panel<1>(w, bias, job.in, job.x + long(r) * job.x_stride, job.x_stride, y + long(r) * job.y_stride,
                     job.y_stride);
    }
}

/// e to the x within 2 units in the last place (Cephes' polynomial, after Moshier 1989); no branch, so that it is
/// done for many numbers at once.
inline float exponential(float x) {
    constexpr float LOG2E = 1.44269504f, LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;
    constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: adding it leaves a whole number in the last bits
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float shifted = x * LOG2E + ROUNDER;
    const float whole = shifted - ROUNDER;
    const float rest = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    float p = 1.9875691500e-4f;
    p = p * rest + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * rest * rest + rest + 1.0f;
    const int32_t exponent = int32_t(whole) + 127;
    union {
        int32_t bits;
        float value;
    } power = {exponent << 23};
    return p * power.value;
}

void depthwise(const float *const *frames, int kernel, const float *weight, const float *bias, int channels,
               float *y) {
    for (int c = 0; c < channels; ++c) y[c] = bias[c];
    for (int t = 0; t < kernel; ++t) {
        const float *frame = frames[t], *w = weight + long(t) * channels;
#pragma omp simd
        for (int c = 0; c < channels; ++c) y[c] += frame[c] * w[c];
    }
}

void norm(const float *x, const float *gain, const float *bias, int channels, float *y) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < channels; ++c) sum += x[c];
    const float mean = sum / float(channels);
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < channels; ++c) squares += (x[c] - mean) * (x[c] - mean);
    const float scale = 1.0f / __builtin_sqrtf(squares / float(channels) + 1e-5f);
#pragma omp simd
    for (int c = 0; c < channels; ++c) y[c] = (x[c] - mean) * scale * gain[c] + bias[c];
}

/// x (1 + tanh(u)) / 2 is x / (1 + exp(-2 u)).
void gelu(float *x, int count) {
    constexpr float TWICE_ROOT_2_OVER_PI = 1.59576912f;
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        const float v = x[i];
        x[i] = v / (1.0f + exponential(-TWICE_ROOT_2_OVER_PI * (v + 0.044715f * v * v * v)));
    }
}

void exp(float *x, int count) {
#pragma omp simd
    for (int i = 0; i < count; ++i) x[i] = exponential(x[i]);
}

void blend(const float *gate, const float *candidate, float *state, int count) {
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        const float open = 1.0f / (1.0f + exponential(-gate[i]));
        state[i] = (1.0f - open) * state[i] + open * candidate[i];
    }
}

void add_scaled(const float *scale, const float *y, float *x, int count) {
#pragma omp simd
    for (int i = 0; i < count; ++i) x[i] += scale[i] * y[i];
}

float dot(const float *a, const float *b, int count) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; ++i) sum += a[i] * b[i];
    return sum;
}

}  // namespace
}  // namespace rtsr

#define RTSR_KERNELS(name) \
    {name, product<float>, product<uint16_t>, depthwise, norm, gelu, exp, blend, add_scaled, dot}
