// Products with weights of 8 bits, included by kernels_loops.hpp: vectors become 16 bits with one scale each, and sums
// over a span are whole numbers. They are exact, so every instruction set gives nearly the same.
//
// The including file may define MULTIPLY_PAIRS, which multiplies neighbours of 16 bits and adds each pair, with
// SHUFFLE, which orders bytes; or DOT, which multiplies and adds four unsigned by four signed bytes.

namespace rtsr {
namespace {

typedef int32_t Whole __attribute__((vector_size(4 * LANES), may_alias));

constexpr float LARGEST = 127 * 256;  // of a vector's 16 bits: both its bytes are signed where DOT takes them
constexpr float SMALLEST = 1e-30f;    // a vector in which all is less counts as zero
constexpr int FOUR = 4;               // inputs of an output that lie in one word

/// A vector in the room of its row: the values, what the weights' offset adds to a span, and the scale.
struct Rounded {
    Rounded(const Product &job, int row)
        : values(job.room + row * job.room_stride),
          offsets(reinterpret_cast<int32_t *>(values + 2 * padded(job.in))),
          scale(reinterpret_cast<float *>(offsets + (job.in + SPAN - 1) / SPAN)) {}
    static long padded(int in) { return (in + FOUR - 1) / FOUR * FOUR; }

    char *values;
    int32_t *offsets;
    float *scale;
};

/// The nearest whole number to one that is less than 2^22.
inline int32_t nearest(float x) {
    union {
        float value;
        int32_t bits;
    } shifted = {x + 12582912.0f};
    return shifted.bits - 0x4B400000;
}

/// Four bytes, in every lane.
inline Whole word(const char *at) {
    int32_t four;
    __builtin_memcpy(&four, at, sizeof four);
    return four - Whole{};
}

#ifdef DOT
/// Upper and lower bytes lie apart, both signed.
inline void keep(int32_t value, char *values, long count, long i) {
    const int32_t upper = (value + 128) >> 8;
    values[i] = char(upper);
    values[count + i] = char(value - upper * 256);
}

struct Sums {
    Whole upper = {}, lower = {};
    void add(Whole weights, const char *values, long count, long i) {
        upper = Whole(DOT(upper, weights, word(values + i)));
        lower = Whole(DOT(lower, weights, word(values + count + i)));
    }
    Whole total() const { return upper * 256 + lower; }
};
#else
inline void keep(int32_t value, char *values, long, long i) { reinterpret_cast<int16_t *>(values)[i] = int16_t(value); }

struct Sums {
    Whole sum = {};
    void add(Whole weights, const char *values, long, long i) {
        const char *at = values + 2 * i;
#ifdef MULTIPLY_PAIRS
        sum += Whole(MULTIPLY_PAIRS(SHUFFLE(weights, LOWER_PAIR), word(at)));
        sum += Whole(MULTIPLY_PAIRS(SHUFFLE(weights, UPPER_PAIR), word(at + 4)));
#else
        const auto *x = reinterpret_cast<const int16_t *>(at);
        sum += (weights & 255) * x[0] + (weights >> 8 & 255) * x[1] + (weights >> 16 & 255) * x[2] +
               (weights >> 24 & 255) * x[3];
#endif
    }
    Whole total() const { return sum; }
};
#endif

/// Fills a row's room.
void to_16_bits(const Product &job, int row) {
    const Rounded to(job, row);
    const float *x = job.x + long(row) * job.x_stride;
    const long count = Rounded::padded(job.in);
    float most = 0;
#pragma omp simd reduction(max : most)
    for (int i = 0; i < job.in; ++i) {
        const float size = x[i] < 0 ? -x[i] : x[i];
        most = size > most ? size : most;
    }
    const float factor = most < SMALLEST ? 0 : LARGEST / most;
    for (int span = 0; span * SPAN < job.in; ++span) {
        const int end = (span + 1) * SPAN < job.in ? (span + 1) * SPAN : job.in;
        uint32_t sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = span * SPAN; i < end; ++i) {
            const int32_t value = nearest(x[i] * factor);
            keep(value, to.values, count, i);
            sum += uint32_t(value);
        }
        to.offsets[span] = int32_t(uint32_t(OFFSET) * sum);
    }
    for (long i = job.in; i < count; ++i) keep(0, to.values, count, i);
    *to.scale = most < SMALLEST ? 0 : most / LARGEST;
}

/// As for the other kinds of weights.
template <int ROWS, int PANELS>
inline void tile(Byte, const Product &job, int first_panel, int first_row) {
    const long count = Rounded::padded(job.in);
    const char *w[PANELS], *x[ROWS];
    for (int n = 0; n < PANELS; ++n) w[n] = static_cast<const char *>(job.panels) + (first_panel + n) * job.panel_bytes;
    for (int r = 0; r < ROWS; ++r) x[r] = Rounded(job, first_row + r).values;
    Lane total[ROWS][PANELS][PARTS] = {};
    for (int span = 0; span * SPAN < job.in; ++span) {
        const long begin = long(span) * SPAN, end = begin + SPAN < count ? begin + SPAN : count;
        Sums sums[ROWS][PANELS][PARTS];
        for (long i = begin; i < end; i += FOUR)
#pragma GCC unroll 8
            for (int n = 0; n < PANELS; ++n)
#pragma GCC unroll 8
                for (int p = 0; p < PARTS; ++p) {
                    const char *at = w[n] + PANEL * sizeof(float) + (i - begin) * PANEL + p * sizeof(Whole);
#pragma GCC unroll 8
                    for (int r = 0; r < ROWS; ++r)
                        sums[r][n][p].add(*reinterpret_cast<const Whole *>(at), x[r], count, i);
                }
#pragma GCC unroll 8
        for (int n = 0; n < PANELS; ++n) {
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) {
                const Lane scale = load(reinterpret_cast<const float *>(w[n]) + p * LANES);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; ++r) {
                    const Whole sum = sums[r][n][p].total() - Rounded(job, first_row + r).offsets[span];
                    total[r][n][p] += __builtin_convertvector(sum, Lane) * scale;
                }
            }
            w[n] += PANEL * sizeof(float) + (end - begin) * PANEL;
        }
    }
    put(job, first_panel, first_row, total, [&](int r) { return *Rounded(job, first_row + r).scale; });
}

}  // namespace
}  // namespace rtsr
