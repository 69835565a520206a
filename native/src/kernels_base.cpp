// What every processor of the architecture has: SSE2 or NEON.
#define LANES 4
#define CHAINS 1
#define SUMS 8
#define ROWS_AT_ONCE 2
#include "kernels_loops.hpp"

const rtsr::Kernels rtsr::KERNELS_BASE = RTSR_KERNELS("base");
