// AVX2 and FMA: 16 registers of 8 floats.
#include <immintrin.h>

// Of four bytes, two as unsigned 16 bits: the first two, or the last.
#define LOWER_PAIR _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1))
#define UPPER_PAIR _mm256_broadcastsi128_si256(_mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1))
#define SHUFFLE(words, order) _mm256_shuffle_epi8(__m256i(words), order)
#define MULTIPLY_PAIRS(a, b) _mm256_madd_epi16(a, __m256i(b))
#define LANES 8
#define CHAINS 1
#define SUMS 8
#define ROWS_AT_ONCE 4
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_AVX2 = RTSR_KERNELS("avx2");
