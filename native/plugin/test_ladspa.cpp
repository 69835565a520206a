// The LADSPA plug-in in a host of our own: what an instance costs, any block size, in place, junk, and the bypass.
#include <dlfcn.h>

#include <chrono>
#include <fstream>
#include <memory>

#include "check.hpp"
#include "signals.hpp"
#include "src/ladspa/ladspa.h"

namespace {

constexpr unsigned long RATE = 48000;
enum Port { IN, OUT, LATENCY, AMOUNT, CUTOFF, BYPASS, MODEL, DETECTED, IN_USE, PORTS };

const LADSPA_Descriptor *descriptor() {
    static void *library = dlopen(RTSR_LADSPA, RTLD_NOW);
    CHECK(library);
    auto *get = reinterpret_cast<LADSPA_Descriptor_Function>(dlsym(library, "ladspa_descriptor"));
    CHECK(get && get(0) && !get(1));
    return get(0);
}

struct Instance {
    explicit Instance(float cutoff = 4000) : plugin(descriptor()), handle(plugin->instantiate(plugin, RATE)) {
        controls[CUTOFF] = cutoff;
        for (int port = LATENCY; port < PORTS; ++port)
            plugin->connect_port(handle, (unsigned long)port, &controls[port]);
        plugin->activate(handle);
    }
    ~Instance() {
        plugin->deactivate(handle);
        plugin->cleanup(handle);
    }
    void run(float *in, float *out, size_t samples) {
        plugin->connect_port(handle, IN, in);
        plugin->connect_port(handle, OUT, out);
        plugin->run(handle, samples);
    }
    /// The whole signal in blocks of random sizes up to `most`.
    std::vector<float> run(std::vector<float> in, int most) {
        std::vector<float> out(in.size());
        signals::Random random{uint64_t(most)};
        for (size_t at = 0; at < in.size();) {
            const size_t size = std::min(in.size() - at, size_t(1 + random.below(most)));
            run(in.data() + at, out.data() + at, size);
            at += size;
        }
        return out;
    }

    const LADSPA_Descriptor *plugin;
    LADSPA_Handle handle;
    float controls[PORTS] = {};
};

/// Memory of this process that lies in RAM, in MB.
double resident_mb() {
    std::ifstream pages("/proc/self/statm");
    double whole = 0, resident = 0;
    pages >> whole >> resident;
    return resident * 4096 / 1e6;
}

}  // namespace

TEST(a_first_instance_and_further_ones_cost_little) {
    const double before = resident_mb();
    const auto began = std::chrono::steady_clock::now();
    auto voice = signals::voice_like(0.02, RATE);
    const auto first = std::make_unique<Instance>();
    first->run(voice, 960);
    const double start_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
    const double with_one = resident_mb();
    std::vector<std::unique_ptr<Instance>> more;
    for (int i = 0; i < 20; ++i) {
        more.push_back(std::make_unique<Instance>());
        more.back()->run(voice, 960);
    }
    const double each = (resident_mb() - with_one) / 20;
    std::printf("     start to first audio %.1f ms, first instance %.1f MB, each further one %.3f MB\n", start_ms,
                with_one - before, each);
    CHECK(with_one - before <= 30);
    CHECK(each <= 1);
}

TEST(blocks_of_any_size_give_the_same_bits) {
    const auto voice = signals::voice_like(1, RATE);
    const auto expected = Instance().run(voice, 64);
    for (int most : {1, 441, 8192}) CHECK(Instance().run(voice, most) == expected);
    auto in_place = voice;
    Instance().run(in_place.data(), in_place.data(), in_place.size());
    CHECK(in_place == expected);
}

TEST(with_the_bypass_the_input_comes_after_the_latency) {
    Instance instance;
    instance.controls[BYPASS] = 1;
    std::vector<float> none(2);
    instance.run(none.data(), none.data(), 1);  // where a host's controls are read
    instance.plugin->activate(instance.handle);
    const auto voice = signals::voice_like(0.5, RATE), out = instance.run(voice, 500);
    const auto latency = size_t(instance.controls[LATENCY]);
    CHECK(latency > 480 && latency < 600);
    double most = 0;
    for (size_t i = latency; i < out.size(); ++i) most = std::fmax(most, std::fabs(out[i] - voice[i - latency]));
    CHECK(most == 0);
}

TEST(junk_comes_out_finite_and_limited) {
    Instance instance;
    auto voice = signals::voice_like(0.5, RATE);
    for (size_t i = 0; i < voice.size(); i += 5) voice[i] = i % 2 ? NAN : i % 3 ? INFINITY : 1e-40f;
    for (float x : instance.run(voice, 999)) CHECK(x >= -1 && x <= 1);
}

TEST(without_a_fullband_model_the_wideband_one_stays_and_that_is_told) {
    Instance wideband, asked;
    asked.controls[MODEL] = 1;
    const auto voice = signals::voice_like(1, RATE);
    CHECK(asked.run(voice, 480) == wideband.run(voice, 480));
    CHECK(asked.controls[IN_USE] == 16);
    CHECK(asked.controls[LATENCY] == wideband.controls[LATENCY]);
}

TEST(a_setting_that_cannot_be_is_the_nearest_one_and_not_the_one_before) {
    struct Case {
        Port port;
        float before, given, nearest;
    };
    constexpr Case CASES[] = {{CUTOFF, 4000, 20000, 16000}, {CUTOFF, 4000, INFINITY, 16000},
                              {CUTOFF, 4000, -1, 0},        {AMOUNT, -6, 99, 24},
                              {AMOUNT, -6, -INFINITY, -60}, {BYPASS, 1, -9, 0}};
    const auto voice = signals::voice_like(0.2, RATE), more = signals::voice_like(0.3, RATE);
    for (const Case &each : CASES) {
        Instance instance, expected;
        for (Instance *one : {&instance, &expected}) {
            one->controls[each.port] = each.before;
            one->run(voice, 480);
        }
        instance.controls[each.port] = each.given;
        expected.controls[each.port] = each.nearest;
        CHECK(instance.run(more, 480) == expected.run(more, 480));
        CHECK(instance.controls[DETECTED] == expected.controls[DETECTED]);
        if (each.port == CUTOFF && each.nearest > 0) CHECK(instance.controls[DETECTED] == each.nearest);
    }
}

TEST(the_cutoff_in_use_is_told) {
    Instance given(3000), detecting(0);
    const auto voice = signals::voice_like(0.1, RATE);
    given.run(voice, 480);
    detecting.run(voice, 480);
    CHECK(given.controls[DETECTED] == 3000);
    CHECK(detecting.controls[DETECTED] == 8000);
}
