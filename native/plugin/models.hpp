// The models of the plug-ins: the one inside the binary, and the one that may lie beside the bundle.
#pragma once

#include <memory>
#include <string>

#include "stream.hpp"

namespace models {

enum Which { WIDEBAND, FULLBAND, COUNT };
constexpr const char *FULLBAND_FILE = "voice-48k.json";

/// The model, opened once for all instances that live at the same time; throws what reading it throws.
std::shared_ptr<const rtsr::Model> open(Which which);

/// Where the fullband model is looked for: beside the bundle, or the binary where that is all of it.
std::string fullband_path();

}  // namespace models
