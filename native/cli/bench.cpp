#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#include "network_batch.hpp"

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

std::vector<float> voice(double seconds, int rate) {
    std::vector<float> out(size_t(seconds * rate));
    uint32_t noise = 1;
    for (size_t i = 0; i < out.size(); ++i) {
        const double t = double(i) / rate, pitch = 2 * M_PI * (130 * t - 7 * std::cos(3 * t));
        double sum = 0;
        for (int k = 1; k < 20; ++k) sum += std::sin(k * pitch) / k;
        noise = noise * 1664525 + 1013904223;
        out[i] = float((std::sin(4 * t) > -0.5 ? 0.1 * sum : 0) + 1e-3 * (noise / 4294967296.0 - 0.5));
    }
    return out;
}

double percentile(const std::vector<double> &sorted, double part) {
    return sorted[std::min(sorted.size() - 1, size_t(part * double(sorted.size())))];
}

}  // namespace

void bench(const std::shared_ptr<const rtsr::Model> &model, int rate, int rate_out, double seconds) {
    rtsr::Stream stream(model, rate, rate_out);
    const auto in = voice(seconds, stream.rate);
    std::vector<float> out(size_t(stream.hop_out));
    std::vector<double> times;
    times.reserve(in.size() / size_t(stream.hop));
    for (size_t at = 0; at + size_t(stream.hop) <= in.size(); at += size_t(stream.hop)) {
        const auto began = Clock::now();
        stream.process(in.data() + at, out.data());
        times.push_back(since(began));
    }
    if (times.empty()) rtsr::invalid("expected at least one hop to time");
    double total = 0;
    for (double t : times) total += t;
    std::sort(times.begin(), times.end());
    const double hop_s = double(stream.hop) / stream.rate;
    std::printf("{\"rates\": [%d, %d], \"hops\": %zu, \"kernels\": \"%s\", \"real_time_factor\": %.5f, "
                "\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"max_ms\": %.4f}\n",
                stream.rate, stream.rate_out, times.size(), model->kernels.name, total / (double(times.size()) * hop_s),
                1e3 * percentile(times, 0.5), 1e3 * percentile(times, 0.99), 1e3 * percentile(times, 0.999),
                1e3 * times.back());
}

void bench_voices(const std::shared_ptr<const rtsr::Model> &model, int voices, int threads, double seconds) {
    const rtsr::Spec &spec = model->spec();
    const int frames = int(seconds * spec.frames_per_s());
    const auto began = Clock::now();
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t)
        running.emplace_back([&, rows = voices * (t + 1) / threads - voices * t / threads] {
            rtsr::NetworkBatch state(model, std::max(rows, 1));
            std::vector<float> spectrum(size_t(rows) * size_t(spec.bins_in()) * 2, 0.1f);
            std::vector<float> cutoff(size_t(rows), 4000.0f), out(size_t(rows) * size_t(spec.bands()));
            for (int f = 0; f < frames; ++f) state.step({rows, spectrum.data(), cutoff.data(), out.data(), nullptr});
        });
    for (auto &thread : running) thread.join();
    const double elapsed = since(began);
    std::printf("{\"voices\": %d, \"threads\": %d, \"network_of_real_time\": %.3f}\n", voices, threads,
                elapsed / seconds);
}
