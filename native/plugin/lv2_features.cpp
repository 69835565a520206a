// LV2 hosts that offer no options or no URID map (ffmpeg, lv2apply) get ours: the plug-in works without either.
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "src/lv2/lv2.h"
#include "src/lv2/options.h"
#include "src/lv2/urid.h"

extern "C" const LV2_Descriptor *dpf_lv2_descriptor(uint32_t index);  // DPF's, renamed by the build

namespace {

LV2_Descriptor described;

LV2_URID map_uri(LV2_URID_Map_Handle, const char *uri) {
    static std::mutex mutex;
    static std::map<std::string, LV2_URID> known;
    const std::lock_guard<std::mutex> lock(mutex);
    return known.emplace(uri, LV2_URID(known.size() + 1)).first->second;
}

bool offers(const LV2_Feature *const *features, const char *uri) {
    for (; features && *features; ++features)
        if (!std::strcmp((*features)->URI, uri)) return true;
    return false;
}

LV2_Handle instantiate(const LV2_Descriptor *, double rate, const char *bundle, const LV2_Feature *const *features) {
    static LV2_URID_Map map{nullptr, map_uri};
    static LV2_Options_Option none[] = {{LV2_OPTIONS_INSTANCE, 0, 0, 0, 0, nullptr}};
    static const LV2_Feature our_map{LV2_URID__map, &map}, our_options{LV2_OPTIONS__options, none};
    std::vector<const LV2_Feature *> all;
    for (auto given = features; given && *given; ++given) all.push_back(*given);
    if (!offers(features, LV2_URID__map)) all.push_back(&our_map);
    if (!offers(features, LV2_OPTIONS__options)) all.push_back(&our_options);
    all.push_back(nullptr);
    const LV2_Descriptor *inner = dpf_lv2_descriptor(0);
    return inner->instantiate(inner, rate, bundle, all.data());
}

}  // namespace

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) {
    const LV2_Descriptor *inner = dpf_lv2_descriptor(index);
    if (!inner) return nullptr;
    described = *inner;
    described.instantiate = instantiate;
    return &described;
}
