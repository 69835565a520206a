#include "models.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>

extern "C" const char rtsr_manifest[], rtsr_manifest_end[], rtsr_tensors[], rtsr_tensors_end[];

namespace models {

namespace {

#if defined(DISTRHO_PLUGIN_TARGET_VST3)
constexpr int BUNDLE_LEVELS = 4;  // rtsr.vst3/Contents/x86_64-linux/rtsr.so
#elif defined(DISTRHO_PLUGIN_TARGET_LV2)
constexpr int BUNDLE_LEVELS = 2;  // rtsr.lv2/rtsr.so
#else
constexpr int BUNDLE_LEVELS = 1;
#endif

std::shared_ptr<const rtsr::Model> read(Which which) {
    if (which == WIDEBAND)
        return rtsr::Model::read({rtsr_manifest, size_t(rtsr_manifest_end - rtsr_manifest)},
                                 reinterpret_cast<const uint8_t *>(rtsr_tensors),
                                 size_t(rtsr_tensors_end - rtsr_tensors), rtsr::kernels());
    return rtsr::Model::open(fullband_path(), false, rtsr::kernels());
}

}  // namespace

std::string fullband_path() {
    Dl_info found{};
    dladdr(reinterpret_cast<const void *>(&fullband_path), &found);
    std::string folder = found.dli_fname ? found.dli_fname : "";
    for (int level = 0; level < BUNDLE_LEVELS; ++level) folder.erase(std::min(folder.size(), folder.find_last_of('/')));
    return (folder.empty() ? "." : folder) + "/" + FULLBAND_FILE;
}

std::shared_ptr<const rtsr::Model> open(Which which) {
    static std::mutex mutex;
    static std::weak_ptr<const rtsr::Model> opened[COUNT];
    const std::lock_guard<std::mutex> lock(mutex);
    auto model = opened[which].lock();
    if (!model) opened[which] = model = read(which);
    return model;
}

}  // namespace models
