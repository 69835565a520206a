// Named arrays of 32-bit floats in the bytes of a safetensors file; a view, checked when it is made.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rtsr {

class Tensors {
public:
    using Shape = std::vector<int64_t>;

    /// Reads the header; refuses as corrupt what is not exactly one safetensors file of F32 without gaps.
    Tensors(const uint8_t *bytes, size_t size);

    size_t count() const { return entries_.size(); }
    bool has(const std::string &name) const { return entries_.count(name) != 0; }
    const Shape &shape(const std::string &name) const { return entry(name).shape; }

    /// A copy of the values; refused as corrupt where the name or the shape is not there.
    std::vector<float> read(const std::string &name, const Shape &expected) const;

private:
    struct Entry {
        Shape shape;
        const uint8_t *bytes;
        size_t size;
    };
    const Entry &entry(const std::string &name) const;

    std::map<std::string, Entry> entries_;
};

}  // namespace rtsr
