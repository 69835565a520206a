// A file's content in memory of our own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rtsr {

/// The whole file, read and not mapped: what happens to it afterwards changes nothing, and cannot end the process.
/// Refuses as missing what is no readable, regular, non-empty file of at most 2 GiB.
std::vector<uint8_t> read_file(const std::string &path);

}  // namespace rtsr
