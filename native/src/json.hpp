// A strict reader of JSON (RFC 8259): one value, nothing after it, no member twice, at most so deep.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rtsr {

class Json {
public:
    enum class Kind { null, boolean, number, text, array, object };

    /// Reads one value; refuses anything else as corrupt, saying where.
    static Json parse(std::string_view text);

    Kind kind() const { return kind_; }
    double number() const;
    int64_t integer(int64_t least, int64_t most) const;
    const std::string &text() const;
    const std::vector<Json> &items() const;
    const std::vector<std::pair<std::string, Json>> &members() const;

    /// The member of that name; refused as corrupt where there is none.
    const Json &at(std::string_view name) const;
    const Json *find(std::string_view name) const;

private:
    friend class JsonReader;
    void expect(Kind kind, const char *what) const;

    Kind kind_ = Kind::null;
    bool boolean_ = false;
    double number_ = 0;
    std::string text_;
    std::vector<Json> items_;
    std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace rtsr
