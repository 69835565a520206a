// Streams of one model on several threads, settings from others; meant for the thread sanitizer.
#include <atomic>
#include <chrono>
#include <thread>

#include "signals.hpp"
#include "vectors.hpp"
#include "shared_block.hpp"
#include "worker.hpp"

using namespace rtsr;

TEST(settings_come_from_any_thread_while_hops_run) {
    Stream stream(Model::open(manifest("random"), Precision::FLOAT32, kernels()), 16000, 16000);
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
    const auto model = Model::open(manifest("random"), Precision::FLOAT32, kernels());
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

/// A worker with a capturing thread before it, a playing one behind it, and one that wishes and switches models.
TEST(a_worker_shares_nothing_but_its_block) {
    constexpr int RATE = 48000, SAMPLES = 2 * RATE;
    const auto model = Model::open(manifest("random"), Precision::FLOAT32, kernels());
    const auto voice = signals::voice_like(2, RATE);
    Worker worker(model, RATE, 0, -70);
    SharedBlock shared(RATE);
    worker.connect(shared.ends());
    std::atomic<bool> done{false};
    std::thread working([&] { worker.run(); });
    std::thread capture([&] {
        for (size_t at = 0; !done; at = (at + 96) % voice.size()) {
            while (!done && (shared.waiting() > RATE / 10 || shared.ready() > RATE / 4)) std::this_thread::yield();
            shared.hear(voice.data() + at, 96);
        }
    });
    std::thread steer([&] {
        for (int i = 0; !done; ++i) {
            CHECK(worker.wish(-(i % 20), i % 3 == 0, i % 7 == 0));
            if (i % 50 == 0) worker.switch_to(model);
            if (i % 10 == 0) worker.relearn();
            const auto report = worker.report();
            CHECK(report.hops >= 0 && report.level >= 0);
            float times[8];
            CHECK(worker.times(times, 8) <= 8);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    std::vector<float> heard;
    const int due = (SAMPLES / worker.hop - 1) * worker.hop;  // a drifting clock may take a sample
    // The machine may run the thread that steers as late as it likes: the sound goes on until a model has taken over.
    while (int(heard.size()) < due || worker.report().switches == 0) {
        shared.play(96, heard);
        std::this_thread::yield();
    }
    done = true;
    worker.stop();
    for (auto *thread : {&working, &capture, &steer}) thread->join();
    CHECK(worker.report().hops * worker.hop >= due);  // it may be stopped before the last one
    CHECK(worker.report().switches > 0);
    for (float x : heard) CHECK(x >= -1 && x <= 1);
}

TEST(a_worker_that_is_stopped_before_it_begins_ends_at_once) {
    Worker worker(Model::open(manifest("random"), Precision::FLOAT32, kernels()), 48000, 0, -70);
    SharedBlock shared(48000);
    worker.connect(shared.ends());
    worker.stop();
    worker.run();
    CHECK(worker.report().hops == 0);
}
