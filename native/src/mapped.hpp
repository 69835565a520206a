// A file seen as memory, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace rtsr {

class Mapped {
public:
    /// Maps the whole file; refuses as missing what is no readable, regular, non-empty file.
    explicit Mapped(const std::string &path);
    ~Mapped();
    Mapped(const Mapped &) = delete;
    Mapped &operator=(const Mapped &) = delete;

    const uint8_t *bytes() const { return bytes_; }
    size_t size() const { return size_; }

private:
    const uint8_t *bytes_ = nullptr;
    size_t size_ = 0;
};

}  // namespace rtsr
