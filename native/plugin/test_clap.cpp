// The CLAP plug-in in a host of our own: the same samples as the engine, after the latency that it reports.
#include <dlfcn.h>

#include <cstring>

#include "check.hpp"
#include "reblock.hpp"
#include "signals.hpp"
#include "src/clap/entry.h"
#include "src/clap/ext/latency.h"
#include "src/clap/ext/params.h"
#include "src/clap/plugin-factory.h"

namespace {

constexpr int RATE = 44100, MOST = 1024;
constexpr double CUTOFF_HZ = 3000;

void nothing(const clap_host_t *) {}
void rescan(const clap_host_t *, clap_param_rescan_flags) {}
void clear(const clap_host_t *, clap_id, clap_param_clear_flags) {}

const void *extension(const clap_host_t *, const char *id) {
    static const clap_host_latency_t latency{nothing};
    static const clap_host_params_t params{rescan, clear, nothing};
    if (!std::strcmp(id, CLAP_EXT_LATENCY)) return &latency;
    return std::strcmp(id, CLAP_EXT_PARAMS) ? nullptr : &params;
}

/// One event in every block: the cutoff.
uint32_t one_event(const clap_input_events_t *) { return 1; }
const clap_event_header_t *cutoff_event(const clap_input_events_t *, uint32_t) {
    static clap_event_param_value_t event{};
    event.header = {sizeof event, 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0};
    event.param_id = 1;
    event.note_id = event.port_index = event.channel = event.key = -1;
    event.value = CUTOFF_HZ;
    return &event.header;
}
bool take_event(const clap_output_events_t *, const clap_event_header_t *) { return true; }

const clap_host_t HOST{CLAP_VERSION, nullptr, "test",  "rtsr",  "",     "1",
                       extension,    nothing, nothing, nothing};

/// A block at a time through the plug-in.
std::vector<float> render(const clap_plugin_t *plugin, std::vector<float> in) {
    std::vector<float> out(in.size());
    const clap_input_events_t events{nullptr, one_event, cutoff_event};
    const clap_output_events_t no_output{nullptr, take_event};
    for (size_t at = 0; at < in.size(); at += MOST) {
        float *from = in.data() + at, *to = out.data() + at;
        clap_audio_buffer_t source{&from, nullptr, 1, 0, 0}, target{&to, nullptr, 1, 0, 0};
        clap_process_t job{};
        job.steady_time = int64_t(at);
        job.frames_count = uint32_t(std::min(in.size() - at, size_t(MOST)));
        job.audio_inputs = &source;
        job.audio_outputs = &target;
        job.audio_inputs_count = job.audio_outputs_count = 1;
        job.in_events = &events;
        job.out_events = &no_output;
        CHECK(plugin->process(plugin, &job) != CLAP_PROCESS_ERROR);
    }
    return out;
}

}  // namespace

TEST(it_gives_what_the_engine_gives) {
    void *library = dlopen(RTSR_CLAP, RTLD_NOW);
    CHECK(library);
    const auto *entry = static_cast<const clap_plugin_entry_t *>(dlsym(library, "clap_entry"));
    CHECK(entry && entry->init(RTSR_CLAP));
    const auto *factory = static_cast<const clap_plugin_factory_t *>(entry->get_factory(CLAP_PLUGIN_FACTORY_ID));
    CHECK(factory && factory->get_plugin_count(factory) == 1);
    CHECK(!std::strcmp(factory->get_plugin_descriptor(factory, 0)->id, "rtsr.mono"));
    const clap_plugin_t *plugin = factory->create_plugin(factory, &HOST, "rtsr.mono");
    CHECK(plugin && plugin->init(plugin) && plugin->activate(plugin, RATE, 1, MOST));
    CHECK(plugin->start_processing(plugin));
    const auto *latency = static_cast<const clap_plugin_latency_t *>(plugin->get_extension(plugin, CLAP_EXT_LATENCY));

    const auto voice = signals::voice_like(1, RATE);
    rtsr::Reblock engine(rtsr::Model::open(RTSR_MANIFEST, false, rtsr::kernels()), RATE, RATE);
    std::vector<float> expected(voice.size());
    CHECK(engine.stream().set_cutoff(CUTOFF_HZ));
    engine.process(voice.data(), int(voice.size()), expected.data());
    CHECK(latency && latency->get(plugin) == uint32_t(engine.latency()));
    CHECK(render(plugin, voice) == expected);

    plugin->stop_processing(plugin);
    plugin->deactivate(plugin);
    plugin->destroy(plugin);
    entry->deinit();
}
