// AVX2 and FMA: 16 registers of 8 floats.
#define LANES 8
#define CHAINS 1
#define SUMS 8
#define ROWS_AT_ONCE 4
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_AVX2 = RTSR_KERNELS("avx2");
