// SHA-256 (FIPS 180-4): which file this is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace rtsr {

/// The hash of some bytes as 64 hexadecimal digits.
std::string sha256(const uint8_t *bytes, size_t size);

}  // namespace rtsr
