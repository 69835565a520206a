// AVX-512: 32 registers of 16 floats.
#include <immintrin.h>

// Of four bytes, two as unsigned 16 bits: the first two, or the last.
#define LOWER_PAIR _mm512_set4_epi32(int(0x800D800C), int(0x80098008), int(0x80058004), int(0x80018000))
#define UPPER_PAIR _mm512_set4_epi32(int(0x800F800E), int(0x800B800A), int(0x80078006), int(0x80038002))
#define SHUFFLE(words, order) _mm512_shuffle_epi8(__m512i(words), order)
#define MULTIPLY_PAIRS(a, b) _mm512_madd_epi16(a, __m512i(b))
#define LANES 16
#define CHAINS 2
#define SUMS 16
#define ROWS_AT_ONCE 8
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_AVX512 = RTSR_KERNELS("avx512");
