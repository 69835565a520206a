// A recording in, a wider one out, aligned and as long.
#pragma once

#include <memory>
#include <string>

#include "stream.hpp"

struct Wish {
    int rate_out = 0;   // 0: the input's, and no less than the model's
    double cutoff_hz = 0, gain_db = 0;
};

/// Enhances one WAV file into another, block by block: memory does not grow with its length. Every channel is a stream
/// of its own. `to` appears when it is whole, in place of what was there; it may be `from`.
void convert(const std::shared_ptr<const rtsr::Model> &model, const Wish &wish, const std::string &from,
             const std::string &to);
