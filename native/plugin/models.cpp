#include "models.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
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

// From the folder of bundles: beside them, rtsr/data/plugins/lv2 of a wheel, PREFIX/lib/lv2 of a package.
constexpr const char *WAYS[] = {"/", "/../../../net/weights/", "/../../share/rtsr/"};

constexpr auto PRECISION = rtsr::Precision::BF16;

std::shared_ptr<const rtsr::Model> read(Which which) {
    if (which == WIDEBAND && rtsr_tensors_end - rtsr_tensors > 0)
        return rtsr::Model::read({rtsr_manifest, size_t(rtsr_manifest_end - rtsr_manifest)},
                                 reinterpret_cast<const uint8_t *>(rtsr_tensors),
                                 size_t(rtsr_tensors_end - rtsr_tensors), PRECISION, rtsr::kernels());
    return rtsr::Model::open(path(which), PRECISION, rtsr::kernels());
}

/// The folder of the bundle, from the name of the binary.
std::string folder_of(std::string binary) {
    for (int level = 0; level < BUNDLE_LEVELS; ++level) binary.erase(std::min(binary.size(), binary.find_last_of('/')));
    return binary.empty() ? "." : binary;
}

}  // namespace

std::string path(Which which) {
    Dl_info found{};
    dladdr(reinterpret_cast<const void *>(&path), &found);
    const std::string named = found.dli_fname ? found.dli_fname : "";
    char real[PATH_MAX];
    const std::string folders[] = {folder_of(named), folder_of(realpath(named.c_str(), real) ? real : named)};
    for (const auto &folder : folders)
        for (const char *way : WAYS) {
            const std::string file = folder + way + FILES[which];
            if (access(file.c_str(), R_OK) == 0) return file;
        }
    return folders[0] + WAYS[0] + FILES[which];
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
