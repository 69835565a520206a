// Numbers too small to matter are slow: counted as zero while this lives, and as they were afterwards.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rtsr {

class NoDenormals {
public:
#if defined(__x86_64__)
    NoDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
    ~NoDenormals() { _mm_setcsr(before_); }

private:
    const unsigned before_;
#elif defined(__aarch64__)
    NoDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | uint64_t(1) << 24));  // flush to zero
    }
    ~NoDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

private:
    uint64_t before_;
#endif
    NoDenormals(const NoDenormals &) = delete;
    NoDenormals &operator=(const NoDenormals &) = delete;
};

}  // namespace rtsr
