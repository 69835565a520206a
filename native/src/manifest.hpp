// The manifest of a model: which network it is, and which file holds its weights; in Python rtsr/net/weights.py.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "spec.hpp"

namespace rtsr {

/// Widths and depths of the network; the encoder narrows through `widths`, the decoder widens back.
struct NetConfig {
    std::vector<int> widths, dilations;
    int kernel = 0, bottleneck_blocks = 0, memory = 0;
    double expansion = 0;
    Spec spec;

    int hidden(int width) const { return int(width * expansion); }
    /// Frames and channels of every state, by its name.
    std::map<std::string, std::pair<int, int>> states() const;
};

struct Manifest {
    std::string name, file, sha256;
    NetConfig net;

    /// Reads a manifest; refuses as corrupt whatever this version does not understand.
    static Manifest parse(std::string_view text);
};

/// The manifest at `path` and the content of the file that it names, checked against its hash.
struct Weights {
    Manifest manifest;
    std::vector<uint8_t> tensors;

    static Weights open(const std::string &path);
};

}  // namespace rtsr
