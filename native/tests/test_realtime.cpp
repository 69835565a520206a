// The audio thread neither allocates nor frees nor locks, whatever comes in and whatever is set meanwhile.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <thread>

#include "network_batch.hpp"
#include "signals.hpp"
#include "vectors.hpp"
#include "shared_block.hpp"
#include "worker.hpp"

extern "C" void *__libc_malloc(size_t);
extern "C" void *__libc_calloc(size_t, size_t);
extern "C" void *__libc_realloc(void *, size_t);
extern "C" void __libc_free(void *);

namespace {

thread_local bool watched = false;
thread_local int forbidden = 0;

void seen() { forbidden += watched; }

/// How many forbidden calls `act` made.
int watch(const std::function<void()> &act) {
    forbidden = 0;
    watched = true;
    act();
    watched = false;
    return forbidden;
}

}  // namespace

extern "C" void *malloc(size_t size) { return seen(), __libc_malloc(size); }
extern "C" void *calloc(size_t count, size_t size) { return seen(), __libc_calloc(count, size); }
extern "C" void *realloc(void *memory, size_t size) { return seen(), __libc_realloc(memory, size); }
extern "C" void free(void *memory) { seen(), __libc_free(memory); }

extern "C" int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static auto real = reinterpret_cast<int (*)(pthread_mutex_t *)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    seen();
    return real(mutex);
}

using namespace rtsr;

TEST(the_watch_sees_what_is_forbidden) {
    CHECK(watch([] { std::vector<float> gone(1000); }) >= 2);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    CHECK(watch([&] { pthread_mutex_lock(&mutex); }) == 1);
    pthread_mutex_unlock(&mutex);
    CHECK(watch([] {}) == 0);
}

TEST(a_hop_does_nothing_forbidden_from_the_first_on) {
    const auto model = Model::open(manifest("shipped"), Precision::FLOAT32, kernels());
    signals::Random random(1);
    for (int rate : {8000, 16000, 48000}) {
        Stream stream(model, rate, 48000);
        auto in = signals::voice_like(0.5, rate);
        for (size_t i = 0; i < in.size(); i += 97) in[i] = i % 2 ? NAN : 1e38f;
        std::vector<float> out(size_t(stream.hop_out));
        for (size_t at = 0; at + size_t(stream.hop) <= in.size(); at += size_t(stream.hop))
            CHECK(watch([&] {
                      stream.set_cutoff(random.below(20) * 500.0);
                      stream.set_gain(random.below(60) - 30);
                      stream.set_bypass(random.below(2));
                      stream.process(in.data() + at, out.data());
                      stream.cutoff_hz();
                      if (random.below(10) == 0) stream.reset();
                  }) == 0);
    }
}

TEST(a_step_does_nothing_forbidden_from_the_first_on) {
    for (Precision precision : {Precision::BF16, Precision::INT8}) {
        const auto model = Model::open(manifest("random"), precision, kernels());
        NetworkBatch rows(model, 20);
        std::vector<float> spectrum(20 * 482, 0.1f), cutoff(20, 3000), out(20 * size_t(model->spec().bands()));
        for (int i = 0; i < 10; ++i)
            CHECK(watch([&] { rows.step({20 - i, spectrum.data(), cutoff.data(), out.data(), nullptr}); }) == 0);
    }
}

TEST(a_worker_does_nothing_forbidden_through_wishes_switches_stalls_and_drift) {
    constexpr int RATE = 48000;
    const auto model = Model::open(manifest("random"), Precision::FLOAT32, kernels());
    const auto voice = signals::voice_like(1, RATE);
    Worker worker(model, RATE, 0, -70);
    SharedBlock shared(RATE);
    worker.connect(shared.ends());
    std::vector<float> heard;
    double now = 0;
    for (int i = 0; i < 3000; ++i, now += 0.005) {
        const auto at = size_t(i) * 240 % voice.size();
        if (i % 500 == 100) worker.switch_to(model);
        if (i % 100 == 0) CHECK(worker.wish(-(i % 30), i % 300 == 0, i % 700 == 0));
        for (int k = 0; k < (i == 2000 ? 300 : i == 2500 ? 30 : 1); ++k) shared.hear(voice.data() + at, 240);
        now += i == 2000 || i == 2500 ? 1 : 0;
        CHECK(watch([&] {
                  while (worker.step(now)) now += 0.02;
                  worker.relearn();
                  worker.report();
              }) == 0);
        heard.clear();
        shared.play(i % 400 ? 240 : 120, heard);
    }
    const auto report = worker.report();
    CHECK(report.switches > 3 && report.lost > 0 && report.overloads > 0 && report.rested > 0);
}
