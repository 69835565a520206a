// A CLAP host for tests: an instance of the plug-in, blocks through it, and a state as a host keeps it.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "src/clap/entry.h"
#include "src/clap/ext/latency.h"
#include "src/clap/ext/params.h"
#include "src/clap/ext/state.h"
#include "src/clap/plugin-factory.h"

namespace host {

constexpr int RATE = 44100, MOST = 1024;

inline void nothing(const clap_host_t *) {}
inline void rescan(const clap_host_t *, clap_param_rescan_flags) {}
inline void clear(const clap_host_t *, clap_id, clap_param_clear_flags) {}

inline const void *extension(const clap_host_t *, const char *id) {
    static const clap_host_latency_t latency{nothing};
    static const clap_host_params_t params{rescan, clear, nothing};
    if (!std::strcmp(id, CLAP_EXT_LATENCY)) return &latency;
    return std::strcmp(id, CLAP_EXT_PARAMS) ? nullptr : &params;
}

/// One event in every block: the cutoff that the list points to.
inline uint32_t one_event(const clap_input_events_t *) { return 1; }
inline const clap_event_header_t *cutoff_event(const clap_input_events_t *list, uint32_t) {
    static clap_event_param_value_t event{};
    event.header = {sizeof event, 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0};
    event.param_id = 1;
    event.note_id = event.port_index = event.channel = event.key = -1;
    event.value = *static_cast<const double *>(list->ctx);
    return &event.header;
}
inline bool take_event(const clap_output_events_t *, const clap_event_header_t *) { return true; }

inline const clap_host_t HOST{CLAP_VERSION, nullptr, "test",  "rtsr",  "",     "1",
                       extension,    nothing, nothing, nothing};

/// A block at a time through the plug-in, with a cutoff for each.
inline std::vector<float> render(const clap_plugin_t *plugin, std::vector<float> in, double cutoff_hz) {
    std::vector<float> out(in.size());
    const clap_input_events_t events{&cutoff_hz, one_event, cutoff_event};
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

inline const clap_plugin_entry_t *entry() {
    static void *library = dlopen(RTSR_CLAP, RTLD_NOW);
    CHECK(library);
    const auto *found = static_cast<const clap_plugin_entry_t *>(dlsym(library, "clap_entry"));
    CHECK(found && found->init(RTSR_CLAP));
    return found;
}

/// An activated instance.
struct Instance {
    Instance() {
        const auto *factory = static_cast<const clap_plugin_factory_t *>(library->get_factory(CLAP_PLUGIN_FACTORY_ID));
        CHECK(factory && factory->get_plugin_count(factory) == 1);
        CHECK(!std::strcmp(factory->get_plugin_descriptor(factory, 0)->id, "rtsr.mono"));
        plugin = factory->create_plugin(factory, &HOST, "rtsr.mono");
        CHECK(plugin && plugin->init(plugin) && plugin->activate(plugin, RATE, 1, MOST));
        CHECK(plugin->start_processing(plugin));
    }
    ~Instance() {
        plugin->stop_processing(plugin);
        plugin->deactivate(plugin);
        plugin->destroy(plugin);
        library->deinit();
    }
    template <class Extension>
    const Extension *extension(const char *id) const {
        const auto *found = static_cast<const Extension *>(plugin->get_extension(plugin, id));
        CHECK(found);
        return found;
    }
    double value(clap_id which) const {
        double value = 0;
        CHECK(extension<clap_plugin_params_t>(CLAP_EXT_PARAMS)->get_value(plugin, which, &value));
        return value;
    }

    const clap_plugin_entry_t *const library = entry();
    const clap_plugin_t *plugin;
};

/// A saved state, as a host keeps it.
struct Saved {
    std::string bytes;
    size_t place = 0;

    static int64_t write(const clap_ostream_t *stream, const void *from, uint64_t size) {
        static_cast<Saved *>(stream->ctx)->bytes.append(static_cast<const char *>(from), size);
        return int64_t(size);
    }
    static int64_t read(const clap_istream_t *stream, void *to, uint64_t size) {
        auto &saved = *static_cast<Saved *>(stream->ctx);
        const size_t count = saved.bytes.copy(static_cast<char *>(to), size, saved.place);
        saved.place += count;
        return int64_t(count);
    }
};

}  // namespace host
