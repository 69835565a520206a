#include "kernels.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rtsr {

#if defined(__x86_64__)
namespace {

/// Which registers the operating system saves: XCR0, or nothing where it cannot be read.
uint32_t saved(uint32_t leaf_1_ecx) {
    if (!(leaf_1_ecx & bit_OSXSAVE)) return 0;
    uint32_t low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

}  // namespace
#endif

// Asked of the processor itself: what __builtin_cpu_supports reads is not filled in by every compiler's library (zig's).
int kernels_count() {
#if defined(__x86_64__)
    constexpr uint32_t YMM = 0x06, ZMM = 0xe6, WIDE = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 1;
    const uint32_t first = ecx, registers = saved(first);
    if (!(first & bit_FMA) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 1;
    if ((registers & YMM) != YMM || !(ebx & bit_AVX2)) return 1;
    if ((registers & ZMM) != ZMM || (ebx & WIDE) != WIDE) return 2;
    return ecx & bit_AVX512VNNI ? 4 : 3;
#else
    return 1;  // NEON is part of every 64-bit ARM
#endif
}

const Kernels &kernels(int which) {
#if defined(__x86_64__)
    if (which == 3) return KERNELS_VNNI;
    if (which == 2) return KERNELS_AVX512;
    if (which == 1) return KERNELS_AVX2;
#endif
    (void)which;
    return KERNELS_BASE;
}

}  // namespace rtsr
