#include "tensors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "error.hpp"
#include "json.hpp"

namespace rtsr {

namespace {

constexpr size_t LENGTH = 8;                 // of the header's own length, little-endian
constexpr int64_t MOST = int64_t(1) << 31;   // elements or bytes of anything

std::string text(const Tensors::Shape &shape) {
    std::string out = "(";
    for (int64_t size : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(size);
    return out + ")";
}

size_t header_length(const uint8_t *bytes, size_t size) {
    if (size < LENGTH) corrupt("no safetensors: expected 8 bytes of header length, got " + std::to_string(size));
    uint64_t length = 0;
    for (size_t i = 0; i < LENGTH; ++i) length |= uint64_t(bytes[i]) << 8 * i;
    if (length > size - LENGTH)
        corrupt("no safetensors: expected a header of at most " + std::to_string(size - LENGTH) + " bytes, got " +
                std::to_string(length));
    return size_t(length);
}

Tensors::Shape read_shape(const Json &json) {
    Tensors::Shape shape;
    int64_t elements = 1;
    for (const Json &size : json.items()) {
        shape.push_back(size.integer(1, MOST));
        elements *= shape.back();
        if (elements > MOST) corrupt("no safetensors: a tensor of shape " + text(shape) + " is too large");
    }
    return shape;
}

size_t bytes_of(const Tensors::Shape &shape) {
    size_t elements = 1;
    for (int64_t size : shape) elements *= size_t(size);
    return elements * sizeof(float);
}

}  // namespace

Tensors::Tensors(const uint8_t *bytes, size_t size) {
    const size_t length = header_length(bytes, size);
    const uint8_t *data = bytes + LENGTH + length;
    const size_t room = size - LENGTH - length;
    std::vector<std::pair<size_t, size_t>> spans;
    const Json header = Json::parse({reinterpret_cast<const char *>(bytes) + LENGTH, length});
    for (const auto &[name, about] : header.members()) {
        if (name == "__metadata__") continue;
        if (about.at("dtype").text() != "F32") corrupt(name + ": expected F32, got " + about.at("dtype").text());
        const Shape shape = read_shape(about.at("shape"));
        const auto &offsets = about.at("data_offsets").items();
        if (offsets.size() != 2) corrupt(name + ": expected two offsets, got " + std::to_string(offsets.size()));
        const auto begin = size_t(offsets[0].integer(0, int64_t(room)));
        const auto end = size_t(offsets[1].integer(int64_t(begin), int64_t(room)));
        if (end - begin != bytes_of(shape))
            corrupt(name + ": expected " + std::to_string(bytes_of(shape)) + " bytes, got " +
                    std::to_string(end - begin));
        spans.emplace_back(begin, end);
        entries_[name] = Entry{shape, data + begin, end - begin};
    }
    std::sort(spans.begin(), spans.end());
    size_t reached = 0;
    for (const auto &[begin, end] : spans) {
        if (begin != reached) corrupt("no safetensors: expected tensors without gap or overlap");
        reached = end;
    }
    if (reached != room) corrupt("no safetensors: expected nothing after the tensors");
}

const Tensors::Entry &Tensors::entry(const std::string &name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) corrupt("expected a tensor '" + name + "', got none");
    return found->second;
}

std::vector<float> Tensors::read(const std::string &name, const Shape &expected) const {
    const Entry &found = entry(name);
    if (found.shape != expected)
        corrupt(name + ": expected shape " + text(expected) + ", got " + text(found.shape));
    std::vector<float> values(found.size / sizeof(float));
    std::memcpy(values.data(), found.bytes, found.size);
    for (float value : values)
        if (!std::isfinite(value)) corrupt(name + ": expected numbers, got one that is none");
    return values;
}

}  // namespace rtsr
