// The loops themselves, included once by each kernels_*.cpp. Nothing here may be shared between instruction sets, so
// everything is in an unnamed namespace and no header with inline functions is included.
//
// The including file defines LANES (floats in a register), CHAINS (sums of an output that are added at the end: they
// hide the multiplier's latency), SUMS (registers that hold sums) and ROWS_AT_ONCE (vectors that share a reading of the
// weights).

#include "kernels.hpp"

namespace rtsr {
namespace {

typedef float Lane __attribute__((vector_size(4 * LANES), may_alias));
typedef float LooseLane __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), may_alias));

constexpr int PARTS = PANEL / LANES;

inline Lane load(const float *at) { return *reinterpret_cast<const Lane *>(at); }

// The weights of two inputs for a part of the outputs.

struct Single {
    using Weight = float;
    static void load(const float *at, int part, Lane &even, Lane &odd) {
        even = *reinterpret_cast<const Lane *>(at + part * LANES);
        odd = *reinterpret_cast<const Lane *>(at + PANEL + part * LANES);
    }
};

/// bfloat16 is the upper half of a float; both inputs of an output lie in one word.
struct Half {
    using Weight = uint16_t;
    static void load(const uint16_t *at, int part, Lane &even, Lane &odd) {
        const Bits both = *reinterpret_cast<const Bits *>(at + part * 2 * LANES);
        even = reinterpret_cast<Lane>(both << 16);
        odd = reinterpret_cast<Lane>(both & 0xFFFF0000u);
    }
};

struct Byte {};  // kernels_bytes.hpp

/// Writes the outputs of a tile: its sums, each row's by its scale, and the bias.
template <int ROWS, int PANELS, class Scale>
inline void put(const Product &job, int first_panel, int first_row, const Lane (&total)[ROWS][PANELS][PARTS],
                Scale scale_of) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
        for (int n = 0; n < PANELS; ++n)
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) {
                const int at = (first_panel + n) * PANEL + p * LANES;
                *reinterpret_cast<LooseLane *>(job.y + long(first_row + r) * job.y_stride + at) =
                    total[r][n][p] * scale_of(r) + load(job.bias + at);
            }
}

/// PANELS panels of outputs for ROWS vectors. A row's sums depend on neither: it gives the same bits in any batch.
template <int ROWS, int PANELS, class Kind>
inline void tile(Kind, const Product &job, int first_panel, int first_row) {
    using Weight = typename Kind::Weight;
    const float *x = job.x + long(first_row) * job.x_stride;
    const int stride = job.x_stride;
    const Weight *w[PANELS];
    for (int n = 0; n < PANELS; ++n)
        w[n] = reinterpret_cast<const Weight *>(static_cast<const char *>(job.panels) +
                                                (first_panel + n) * job.panel_bytes);
    Lane total[ROWS][PANELS][PARTS] = {};
    for (int done = 0; done < job.in; done += SPAN) {
        const int count = job.in - done < SPAN ? job.in - done : SPAN;
        Lane sum[ROWS][PANELS][CHAINS][PARTS] = {};
        int k = 0;
        for (; k + 2 <= count; k += 2, x += 2)
#pragma GCC unroll 8
            for (int n = 0; n < PANELS; ++n)
#pragma GCC unroll 8
                for (int p = 0; p < PARTS; ++p) {
                    Lane even, odd;
                    Kind::load(w[n] + k * PANEL, p, even, odd);
#pragma GCC unroll 8
                    for (int r = 0; r < ROWS; ++r) {
                        sum[r][n][0][p] += even * x[r * stride];
                        sum[r][n][CHAINS - 1][p] += odd * x[r * stride + 1];
                    }
                }
#pragma GCC unroll 8
        for (int n = 0; n < PANELS; ++n) {
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) {
                Lane even = {}, odd = {};
                if (k < count) Kind::load(w[n] + k * PANEL, p, even, odd);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; ++r) {
                    if (k < count) sum[r][n][0][p] += even * x[r * stride];
                    for (int c = 1; c < CHAINS; ++c) sum[r][n][0][p] += sum[r][n][c][p];
                    total[r][n][p] += sum[r][n][0][p];
                }
            }
            w[n] += (count + count % 2) * PANEL;
        }
    }
    put(job, first_panel, first_row, total, [](int) { return 1.0f; });
}

}  // namespace
}  // namespace rtsr

#include "kernels_bytes.hpp"

namespace rtsr {
namespace {

/// Rows from `first_row` on, ROWS at a time; the rest with fewer, of which more panels at a time fill the registers.
template <int ROWS, class Kind>
void rows(const Product &job, int first_row) {
    constexpr int FREE = SUMS / (ROWS * PARTS * CHAINS), PANELS = FREE < 4 ? FREE : 4;
    const int last = job.rows - (job.rows - first_row) % ROWS;
    for (int n = 0; first_row < last && n < job.panels_count;) {
        const bool all = n + PANELS <= job.panels_count;
        for (int r = first_row; r < last; r += ROWS)
            all ? tile<ROWS, PANELS>(Kind{}, job, n, r) : tile<ROWS, 1>(Kind{}, job, n, r);
        n += all ? PANELS : 1;
    }
    if constexpr (ROWS > 1) rows<ROWS / 2, Kind>(job, last);
}

template <class Kind>
void product(const Product &job) {
    rows<ROWS_AT_ONCE, Kind>(job, 0);
}

template <>
void product<Byte>(const Product &job) {
    for (int r = 0; r < job.rows; ++r) to_16_bits(job, r);
    rows<ROWS_AT_ONCE, Byte>(job, 0);
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
    {name, {product<Single>, product<Half>, product<Byte>}, depthwise, norm, gelu, exp, blend, add_scaled, dot}
