// AVX2 and FMA: 16 registers of 8 floats.
#define LANES 8
#define CHAINS 2
#define ROWS_AT_ONCE 2
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_AVX2 = RTSR_KERNELS("avx2");
