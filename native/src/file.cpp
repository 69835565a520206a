#include "file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "error.hpp"

namespace rtsr {

namespace {

constexpr int64_t MOST_BYTES = int64_t(1) << 31;

/// A descriptor that is closed at the end.
struct Open {
    explicit Open(const std::string &path) : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (number < 0) missing(path + " is missing or cannot be read");
    }
    ~Open() { ::close(number); }
    Open(const Open &) = delete;
    Open &operator=(const Open &) = delete;

    const int number;
};

}  // namespace

std::vector<uint8_t> read_file(const std::string &path) {
    const Open file(path);
    struct stat about {};
    if (::fstat(file.number, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size <= 0)
        missing(path + " is no file with something in it");
    if (about.st_size > MOST_BYTES) missing(path + ": expected at most 2 GiB, got " + std::to_string(about.st_size));
    std::vector<uint8_t> content(size_t(about.st_size));
    size_t done = 0;
    while (done < content.size()) {
        const ssize_t count = ::read(file.number, content.data() + done, content.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) missing(path + " cannot be read to its end");
        done += size_t(count);
    }
    return content;
}

}  // namespace rtsr
