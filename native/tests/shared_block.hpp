// The two ends of a worker, as a host has them: what is heard goes into the input, what was made
// of it comes from the output.
#pragma once

#include <vector>

#ifdef __linux__
#include <semaphore.h>
#endif

#include "rtsr_worker.h"

struct SharedBlock {
    explicit SharedBlock(int rate, int64_t burst = 480)
        : input(size_t(2 * rate)), output(size_t(rate) / 2), burst(burst) {
#ifdef __linux__
        sem_init(&semaphore, 0, 0);
#endif
    }

    rtsr_shared_block ends() {
        return {input.data(), int64_t(input.size()), output.data(), int64_t(output.size()), &heard,  &taken, &made,
                &played,     &flowing,             &shift,      &muted,               burst,  SEMAPHORE};
    }

    // The capturing thread's.
    int64_t waiting() const { return heard - __atomic_load_n(&taken, __ATOMIC_ACQUIRE); }
    int64_t ready() const {
        return __atomic_load_n(&made, __ATOMIC_ACQUIRE) - __atomic_load_n(&played, __ATOMIC_ACQUIRE);
    }
    void hear(const float *block, int64_t count) {
        for (int64_t i = 0; i < count; ++i) input[size_t((heard + i) % int64_t(input.size()))] = block[i];
        __atomic_store_n(&heard, heard + count, __ATOMIC_RELEASE);
#ifdef __linux__
        sem_post(&semaphore);  // oftener than is promised, which costs nothing here
#endif
    }

    /// The playing thread's: takes up to `most` samples.
    void play(int64_t most, std::vector<float> &out) {
        const int64_t there = __atomic_load_n(&made, __ATOMIC_ACQUIRE) - played, count = there < most ? there : most;
        for (int64_t i = 0; i < count; ++i) out.push_back(output[size_t((played + i) % int64_t(output.size()))]);
        __atomic_store_n(&played, played + count, __ATOMIC_RELEASE);
    }

    std::vector<float> input, output;
    const int64_t burst;
    alignas(64) int64_t heard = 0;
    alignas(64) int64_t played = 0, flowing = 1;
    alignas(64) int64_t taken = 0, made = 0, shift = 0, muted = 0;
#ifdef __linux__
    sem_t semaphore;
    void *const SEMAPHORE = &semaphore;
#else
    void *const SEMAPHORE = nullptr;
#endif
};
