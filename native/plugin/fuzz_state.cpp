// libFuzzer: any bytes as a saved state are restored or refused, and the plug-in goes on with settings that can be.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "clap_host.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const host::Instance instance;
    host::Saved saved{{reinterpret_cast<const char *>(bytes), size}};
    const clap_istream_t stream{&saved, host::Saved::read};
    instance.extension<clap_plugin_state_t>(CLAP_EXT_STATE)->load(instance.plugin, &stream);
    constexpr double LIMITS[][2] = {{-60, 24}, {0, 16000}, {0, 1}, {0, 1}};
    for (clap_id which = 0; which < 4; ++which) {
        const double value = instance.value(which);
        if (!(value >= LIMITS[which][0] && value <= LIMITS[which][1])) std::abort();
    }
    std::vector<float> block(64, 0.1f);
    for (float x : host::render(instance.plugin, block, NAN))
        if (!(std::fabs(x) <= 1)) std::abort();
    return 0;
}
