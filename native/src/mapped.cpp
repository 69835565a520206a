#include "mapped.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.hpp"

namespace rtsr {

Mapped::Mapped(const std::string &path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) missing(path + " is missing or cannot be read");
    struct stat about {};
    if (::fstat(file, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size <= 0) {
        ::close(file);
        missing(path + " is no file with something in it");
    }
    size_ = size_t(about.st_size);
    void *memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    ::close(file);
    if (memory == MAP_FAILED) missing(path + " cannot be mapped into memory");
    bytes_ = static_cast<const uint8_t *>(memory);
}

Mapped::~Mapped() { ::munmap(const_cast<uint8_t *>(bytes_), size_); }

}  // namespace rtsr
