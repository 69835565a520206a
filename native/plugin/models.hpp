// The models of the plug-ins: the one inside the binary or in a file, and the one that may lie in a file beside.
#pragma once

#include <memory>
#include <string>

#include "stream.hpp"

namespace models {

enum Which { WIDEBAND, FULLBAND, COUNT };
constexpr const char *FILES[COUNT] = {"voice-16k.json", "voice-48k.json"};

/// The model, opened once for all instances that live at the same time; throws what reading it throws.
std::shared_ptr<const rtsr::Model> open(Which which);

/// Where the model's file lies: beside the bundle, or the binary where that is all of it; else where a wheel or a package
/// has the models, as seen from there. Where there is none, where it was looked for first.
std::string path(Which which);

}  // namespace models
