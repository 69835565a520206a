#include "wav.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "error.hpp"

namespace wav {

namespace {

constexpr int PCM = 1, FLOAT = 3, EXTENSIBLE = 0xFFFE;
constexpr uint64_t UNKNOWN = 0xFFFFFFFF;   // as a size in RF64, which has another place for it, and in a stream
constexpr uint64_t MOST_RIFF = 0xFFFFFFFF; // bytes after the first eight
constexpr int HEAD = 8, FORM = 12;         // bytes before a chunk's content, and before the first chunk
constexpr int DS64 = 28, FMT = 16;

uint64_t number(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t(at[i]) << 8 * i;
    return value;
}

std::string bytes_of(uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(value >> 8 * i & 255);
    return out;
}

float sample(const uint8_t *at, int bytes, bool is_float) {
    const uint32_t bits = uint32_t(number(at, bytes)) << (32 - 8 * bytes);
    if (!is_float) return float(double(int32_t(bits)) / 2147483648.0);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

File open_regular(const std::string &path) {
    const int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about {};
    if (number < 0 || ::fstat(number, &about) != 0 || !S_ISREG(about.st_mode)) {
        if (number >= 0) ::close(number);
        rtsr::missing(path + " is no file that can be read");
    }
    return File(::fdopen(number, "rb"));
}

/// The chunk at a place in the file.
struct Chunk {
    Chunk(std::FILE *file, int64_t at)
        : known(::fseeko(file, at, SEEK_SET) == 0 && std::fread(head, HEAD, 1, file) == 1) {}
    bool is(const char *name) const { return !std::memcmp(head, name, 4); }
    uint64_t size() const { return number(head + 4, 4); }

    uint8_t head[HEAD]{};
    const bool known;
};

}  // namespace

Reader::Reader(const std::string &path) : Reader(open_regular(path), path) {}

Reader::Reader(File file, const std::string &name) : name_(name), file_(std::move(file)) {
    ::fseeko(file_.get(), 0, SEEK_END);
    const int64_t total = ::ftello(file_.get());
    const Chunk form(file_.get(), 0);
    const bool is_long = form.is("RF64") || form.is("BW64");
    if (total < FORM || !(is_long || form.is("RIFF")) || take(0, HEAD, 4) != number((const uint8_t *)"WAVE", 4))
        rtsr::corrupt(name_ + " is no WAV file");
    uint64_t data_size = UNKNOWN;
    for (int64_t at = FORM; total - at >= HEAD;) {
        const Chunk chunk(file_.get(), at);
        const auto room = uint64_t(total - at - HEAD);
        uint64_t size = chunk.size();
        if (chunk.is("data")) {
            if (size == UNKNOWN) size = is_long ? data_size : room;
            if (!is_long && size < room && uint64_t(total) > MOST_RIFF + HEAD)
                rtsr::corrupt(name_ + ": expected RF64 for over 4 GiB, got a RIFF that cannot state its length");
            begin(at + HEAD, std::min(size, room));
            return;
        }
        if (!chunk.known || size > room) break;
        if (chunk.is("ds64") && is_long && size >= 16) data_size = take(at, HEAD + 8, 8);
        if (chunk.is("fmt ") && size >= FMT) read_format(at, size);
        at += HEAD + int64_t(size + size % 2);
    }
    rtsr::corrupt(name_ + " is a WAV file without samples");
}

/// A number in the chunk at `at`, whose head included.
uint64_t Reader::take(int64_t at, int offset, int bytes) {
    uint8_t raw[8]{};
    if (::fseeko(file_.get(), at + offset, SEEK_SET) || std::fread(raw, size_t(bytes), 1, file_.get()) != 1)
        rtsr::corrupt(name_ + " cannot be read to its end");
    return number(raw, bytes);
}

void Reader::read_format(int64_t at, uint64_t size) {
    uint64_t format = take(at, HEAD, 2);
    if (format == EXTENSIBLE && size >= 26) format = take(at, HEAD + 24, 2);
    channels_ = int(take(at, HEAD + 2, 2));
    rate_ = int(std::min<uint64_t>(take(at, HEAD + 4, 4), INT32_MAX));
    width_ = int(take(at, HEAD + 14, 2)) / 8;
    is_float_ = format == FLOAT;
    if (!((format == PCM && width_ >= 2 && width_ <= 4) || (is_float_ && width_ == 4))) width_ = 0;
}

void Reader::begin(int64_t at, uint64_t size) {
    if (!width_ || rate_ < 1)
        rtsr::corrupt(name_ + ": expected 16, 24 or 32 bits or 32-bit float, got something else");
    if (channels_ < 1 || channels_ > MOST_CHANNELS)
        rtsr::corrupt(name_ + ": expected 1 to " + std::to_string(MOST_CHANNELS) + " channels, got " +
                      std::to_string(channels_));
    frames_ = left_ = int64_t(size) / (width_ * channels_);
    if (!frames_) rtsr::corrupt(name_ + " is a WAV file without samples");
    ::fseeko(file_.get(), at, SEEK_SET);
}

int Reader::read(float *out, int most) {
    const size_t frame = size_t(width_) * size_t(channels_);
    raw_.resize(size_t(most) * frame);
    const auto wanted = size_t(std::min<int64_t>(most, left_));
    const size_t count = std::fread(raw_.data(), frame, wanted, file_.get());
    left_ = count < wanted ? 0 : left_ - int64_t(count);
    for (size_t i = 0; i < count * size_t(channels_); ++i)
        out[i] = sample(raw_.data() + i * size_t(width_), width_, is_float_);
    return int(count);
}

std::string header(int rate, int channels, int64_t frames) {
    const uint64_t frame = uint64_t(channels) * sizeof(float), size = uint64_t(frames) * frame;
    const uint64_t content = 4 + HEAD + FMT + HEAD + size;  // "WAVE", "fmt " and "data"
    const bool is_long = content > MOST_RIFF;
    std::string out = is_long ? "RF64" + bytes_of(UNKNOWN, 4) + "WAVE" : "RIFF" + bytes_of(content, 4) + "WAVE";
    if (is_long)
        out += "ds64" + bytes_of(DS64, 4) + bytes_of(content + HEAD + DS64, 8) + bytes_of(size, 8) +
               bytes_of(uint64_t(frames), 8) + bytes_of(0, 4);
    out += "fmt " + bytes_of(FMT, 4) + bytes_of(FLOAT, 2) + bytes_of(uint64_t(channels), 2) +
           bytes_of(uint64_t(rate), 4) + bytes_of(uint64_t(rate) * frame, 4) + bytes_of(frame, 2) + bytes_of(32, 2);
    return out + "data" + bytes_of(is_long ? UNKNOWN : size, 4);
}

namespace {

/// A name in the same folder that nobody knows before.
std::string random_name(const std::string &path) {
    std::random_device random;
    const size_t slash = path.find_last_of('/') + 1;
    std::string name = path.substr(0, slash) + ".";
    for (int i = 0; i < 16; ++i) name += "0123456789abcdef"[random() % 16];
    return name + ".part";
}

bool is_special(const std::string &path) {
    struct stat about {};
    return ::stat(path.c_str(), &about) == 0 && !S_ISREG(about.st_mode);
}

}  // namespace

Writer::Writer(const std::string &path, int rate, int channels, int64_t frames)
    : path_(path), channels_(channels), left_(frames), part_(is_special(path) ? "" : random_name(path)) {
    const int flags = part_.empty() ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    const int number = ::open(part_.empty() ? path.c_str() : part_.c_str(), flags | O_CLOEXEC, 0666);
    if (number < 0) {
        const char *why = std::strerror(errno);
        part_.clear();
        rtsr::missing(path + " cannot be written (" + why + ")");
    }
    file_.reset(::fdopen(number, "wb"));
    const std::string head = header(rate, channels, frames);
    std::fwrite(head.data(), head.size(), 1, file_.get());
}

Writer::~Writer() {
    if (!part_.empty()) ::unlink(part_.c_str());
}

void Writer::write(const float *samples, int frames) {
    const size_t count = size_t(frames) * size_t(channels_);
    left_ -= frames;
    if (std::fwrite(samples, sizeof(float), count, file_.get()) != count)
        rtsr::missing(path_ + " cannot be written (" + std::strerror(errno) + ")");
}

void Writer::finish() {
    if (left_) rtsr::invalid("expected " + std::to_string(left_) + " more frames");
    const bool incomplete = std::ferror(file_.get()) != 0, failed = std::fclose(file_.release()) != 0 || incomplete;
    if (failed || (!part_.empty() && ::rename(part_.c_str(), path_.c_str()) != 0))
        rtsr::missing(path_ + " cannot be written (" + std::strerror(errno) + ")");
    part_.clear();
}

}  // namespace wav
