// The CLAP plug-in in a host of our own: the same samples as librtsr, after the latency that it reports.
#include "clap_host.hpp"
#include "reblock.hpp"
#include "signals.hpp"

using namespace host;

namespace {

constexpr double CUTOFF_HZ = 3000;

}  // namespace

TEST(it_gives_what_the_engine_gives) {
    const Instance instance;
    const auto voice = signals::voice_like(1, RATE);
    rtsr::Reblock engine(rtsr::Model::open(RTSR_MANIFEST, rtsr::Precision::BF16, rtsr::kernels()), RATE, RATE);
    std::vector<float> expected(voice.size());
    CHECK(engine.stream().set_cutoff(CUTOFF_HZ));
    engine.process(voice.data(), int(voice.size()), expected.data());
    const auto *latency = instance.extension<clap_plugin_latency_t>(CLAP_EXT_LATENCY);
    CHECK(latency->get(instance.plugin) == uint32_t(engine.latency()));
    CHECK(render(instance.plugin, voice, CUTOFF_HZ) == expected);
}

TEST(what_is_saved_makes_another_instance_the_same) {
    const auto voice = signals::voice_like(0.5, RATE);
    const Instance first, second, fresh;
    render(first.plugin, voice, CUTOFF_HZ);  // the events set the cutoff
    Saved saved;
    const clap_ostream_t out{&saved, Saved::write};
    const clap_istream_t in{&saved, Saved::read};
    CHECK(first.extension<clap_plugin_state_t>(CLAP_EXT_STATE)->save(first.plugin, &out));
    CHECK(second.extension<clap_plugin_state_t>(CLAP_EXT_STATE)->load(second.plugin, &in));
    for (clap_id which = 0; which < 4; ++which) CHECK(second.value(which) == first.value(which));
    CHECK(second.value(1) == CUTOFF_HZ && fresh.value(1) == 0);
}

TEST(a_cutoff_that_cannot_be_is_the_nearest_one_and_not_the_one_before) {
    const auto voice = signals::voice_like(0.1, RATE);
    const Instance instance;
    for (const auto &[given, nearest] : {std::pair(1e9, 16000.0), {INFINITY, 16000.0}, {-5.0, 0.0}, {NAN, 0.0}}) {
        render(instance.plugin, voice, CUTOFF_HZ);
        CHECK(instance.value(1) == CUTOFF_HZ);
        render(instance.plugin, voice, given);
        CHECK(instance.value(1) == nearest);
    }
}

TEST(a_saved_state_with_settings_that_cannot_be_is_restored_with_the_nearest) {
    const Instance instance;
    Saved saved;
    const clap_ostream_t out{&saved, Saved::write};
    const auto *state = instance.extension<clap_plugin_state_t>(CLAP_EXT_STATE);
    render(instance.plugin, signals::voice_like(0.1, RATE), CUTOFF_HZ);
    CHECK(state->save(instance.plugin, &out));
    for (const auto &[text, nearest] : {std::pair("1e99", 16000.0), {"nan", 0.0}, {"-1", 0.0}}) {
        Saved other{saved.bytes};
        const size_t at = other.bytes.find("3000");
        CHECK(at != std::string::npos);
        other.bytes.replace(at, other.bytes.find('\0', at) - at, text);
        const clap_istream_t in{&other, Saved::read};
        state->load(instance.plugin, &in);
        CHECK(instance.value(1) == nearest);
    }
}

TEST(the_model_is_an_enumeration) {
    const Instance instance;
    const auto *params = instance.extension<clap_plugin_params_t>(CLAP_EXT_PARAMS);
    clap_param_info_t info{};
    CHECK(params->get_info(instance.plugin, 3, &info) && !std::strcmp(info.name, "Model"));
    CHECK(info.min_value == 0 && info.max_value == 1 && (info.flags & CLAP_PARAM_IS_STEPPED));
    char text[64];
    CHECK(params->value_to_text(instance.plugin, info.id, 0, text, sizeof text) && !std::strcmp(text, "16 kHz"));
    CHECK(params->value_to_text(instance.plugin, info.id, 1, text, sizeof text));
    CHECK(!std::strcmp(text, "48 kHz, where installed"));
}
