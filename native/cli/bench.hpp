// How long a hop takes.
#pragma once

#include <memory>

#include "stream.hpp"

/// Streams so many seconds of a voice on the calling thread, and prints one line of JSON; then so many streams at once,
/// as rows, on as many threads.
void bench(const std::shared_ptr<const rtsr::Model> &model, int rate, int rate_out, double seconds);
void bench_voices(const std::shared_ptr<const rtsr::Model> &model, int voices, int threads, double seconds);
