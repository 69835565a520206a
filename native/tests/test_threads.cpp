// Streams of one model on several threads, settings from others; meant for the thread sanitizer.
#include <atomic>
#include <thread>

#include "signals.hpp"
#include "vectors.hpp"

using namespace rtsr;

TEST(settings_come_from_any_thread_while_hops_run) {
    Stream stream(Model::open(manifest("random"), false, kernels()), 16000, 16000);
    std::atomic<bool> done{false};
    std::thread other([&] {
        for (int i = 0; !done; ++i) {
            stream.set_cutoff(i % 2 ? 2000 : 0);
            stream.set_gain(-(i % 20));
            stream.set_bypass(i % 3 == 0);
            CHECK(stream.cutoff_hz() >= 1000);
        }
    });
    const auto voice = signals::voice_like(2, 16000);
    std::vector<float> out(80);
    for (size_t at = 0; at < voice.size(); at += 80) {
        stream.process(voice.data() + at, out.data());
        for (float x : out) CHECK(x >= -1 && x <= 1);
    }
    done = true;
    other.join();
}

TEST(streams_share_a_model_and_nothing_else) {
    const auto model = Model::open(manifest("random"), false, kernels());
    const auto voice = signals::voice_like(1, 16000);
    auto run = [&](std::vector<float> &out) {
        Stream stream(model, 16000, 16000);
        stream.set_cutoff(2000);
        for (size_t at = 0; at < voice.size(); at += 80) stream.process(voice.data() + at, out.data() + at);
    };
    std::vector<float> alone(voice.size()), outs[3];
    run(alone);
    std::vector<std::thread> threads;
    for (auto &out : outs) {
        out.resize(voice.size());
        threads.emplace_back(run, std::ref(out));
    }
    for (auto &thread : threads) thread.join();
    for (const auto &out : outs) CHECK(out == alone);
}
