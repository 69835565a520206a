// AVX-512: 32 registers of 16 floats.
#define LANES 16
#define CHAINS 2
#define SUMS 16
#define ROWS_AT_ONCE 8
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_AVX512 = RTSR_KERNELS("avx512");
