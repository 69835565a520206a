// AVX-512 with VNNI, whose products of bytes are four to a lane.
#include <immintrin.h>

#define DOT(sums, unsigned_bytes, signed_bytes) \
    _mm512_dpbusd_epi32(__m512i(sums), __m512i(unsigned_bytes), __m512i(signed_bytes))
#define LANES 16
#define CHAINS 2
#define SUMS 16
#define ROWS_AT_ONCE 8
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_VNNI = RTSR_KERNELS("avx512-vnni");
