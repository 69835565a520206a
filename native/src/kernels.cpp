#include "kernels.hpp"

namespace rtsr {

int kernels_count() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? 3 : 2;
#else
    return 1;  // NEON is part of every 64-bit ARM
#endif
}

const Kernels &kernels(int which) {
#if defined(__x86_64__)
    if (which == 2) return KERNELS_AVX512;
    if (which == 1) return KERNELS_AVX2;
#endif
    (void)which;
    return KERNELS_BASE;
}

}  // namespace rtsr
