#include "json.hpp"

#include <cmath>
#include <locale>
#include <sstream>

#include "error.hpp"

namespace rtsr {

namespace {

constexpr int DEEPEST = 32;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string &text, uint32_t point) {
    if (point < 0x80) {
        text += char(point);
    } else if (point < 0x800) {
        text += char(0xC0 | point >> 6);
        text += char(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        text += char(0xE0 | point >> 12);
        text += char(0x80 | (point >> 6 & 0x3F));
        text += char(0x80 | (point & 0x3F));
    } else {
        text += char(0xF0 | point >> 18);
        text += char(0x80 | (point >> 12 & 0x3F));
        text += char(0x80 | (point >> 6 & 0x3F));
        text += char(0x80 | (point & 0x3F));
    }
}

}  // namespace

class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    Json whole() {
        Json value = read(0);
        skip_space();
        if (at_ != text_.size()) refuse("nothing after the value");
        return value;
    }

private:
    [[noreturn]] void refuse(const std::string &expected) const {
        corrupt("no JSON: expected " + expected + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    bool take(char c) {
        skip_space();
        if (peek() != c) return false;
        ++at_;
        return true;
    }

    void need(char c) {
        if (!take(c)) refuse(std::string("'") + c + "'");
    }

    void word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) refuse(std::string(expected));
        at_ += expected.size();
    }

    Json read(int depth) {
        if (depth > DEEPEST) refuse("at most " + std::to_string(DEEPEST) + " levels");
        skip_space();
        switch (peek()) {
        case '{': return object(depth);
        case '[': return array(depth);
        case '"': return text();
        case 't': return constant("true", Json::Kind::boolean, true);
        case 'f': return constant("false", Json::Kind::boolean, false);
        case 'n': return constant("null", Json::Kind::null, false);
        default: return number();
        }
    }

    Json constant(std::string_view expected, Json::Kind kind, bool boolean) {
        word(expected);
        Json value;
        value.kind_ = kind;
        value.boolean_ = boolean;
        return value;
    }

    /// Reads what stands between two brackets, separated by commas.
    template <class Each>
    void several(char open, char close, Each each) {
        need(open);
        if (take(close)) return;
        do {
            each();
        } while (take(','));
        need(close);
    }

    Json object(int depth) {
        Json value;
        value.kind_ = Json::Kind::object;
        several('{', '}', [&] {
            skip_space();
            std::string name = quoted();
            if (value.find(name)) refuse("member '" + name + "' only once");
            need(':');
            value.members_.emplace_back(std::move(name), read(depth + 1));
        });
        return value;
    }

    Json array(int depth) {
        Json value;
        value.kind_ = Json::Kind::array;
        several('[', ']', [&] { value.items_.push_back(read(depth + 1)); });
        return value;
    }

    Json text() {
        Json value;
        value.kind_ = Json::Kind::text;
        value.text_ = quoted();
        return value;
    }

    std::string quoted() {
        if (peek() != '"') refuse("'\"'");
        ++at_;
        std::string out;
        while (true) {
            if (at_ >= text_.size()) refuse("the end of a text");
            char c = text_[at_++];
            if (c == '"') return out;
            if (static_cast<unsigned char>(c) < 0x20) refuse("no control character in a text");
            if (c == '\\') escaped(out);
            else out += c;
        }
    }

    void escaped(std::string &out) {
        static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        char c = peek();
        if (c != 'u') {
            size_t which = names.find(c);
            if (at_ >= text_.size() || which == names.npos) refuse("an escape");
            out += meant[which];
            ++at_;
            return;
        }
        ++at_;
        uint32_t point = four_digits();
        if (point >= 0xD800 && point < 0xDC00) {
            word("\\u");
            uint32_t low = four_digits();
            if (low < 0xDC00 || low > 0xDFFF) refuse("the second half of a pair");
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        } else if (point >= 0xDC00 && point < 0xE000) {
            refuse("the first half of a pair");
        }
        append_utf8(out, point);
    }

    uint32_t four_digits() {
        uint32_t value = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            char c = peek();
            if (is_digit(c)) value = value * 16 + uint32_t(c - '0');
            else if (c >= 'a' && c <= 'f') value = value * 16 + uint32_t(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F') value = value * 16 + uint32_t(c - 'A' + 10);
            else refuse("four hexadecimal digits");
        }
        return value;
    }

    void digits() {
        if (!is_digit(peek())) refuse("a value");
        while (is_digit(peek())) ++at_;
    }

    Json number() {
        size_t start = at_;
        if (peek() == '-') ++at_;
        if (peek() == '0') ++at_;
        else digits();
        if (peek() == '.') {
            ++at_;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            digits();
        }
        Json value;
        value.kind_ = Json::Kind::number;
        value.number_ = to_double(std::string(text_.substr(start, at_ - start)));
        if (!std::isfinite(value.number_)) refuse("a number that is not too large");
        return value;
    }

    static double to_double(const std::string &written) {
        std::istringstream stream(written);  // strtod would read the decimal point of the user's locale
        stream.imbue(std::locale::classic());
        double value = 0;
        stream >> value;
        return stream.fail() && value != 0 ? HUGE_VAL : value;
    }

    std::string_view text_;
    size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).whole(); }

void Json::expect(Kind kind, const char *what) const {
    if (kind_ != kind) corrupt(std::string("expected ") + what + " in the JSON, got something else");
}

double Json::number() const {
    expect(Kind::number, "a number");
    return number_;
}

int64_t Json::integer(int64_t least, int64_t most) const {
    double value = number();
    if (value != std::floor(value) || value < double(least) || value > double(most))
        corrupt("expected a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
                std::to_string(value));
    return int64_t(value);
}

const std::string &Json::text() const {
    expect(Kind::text, "a text");
    return text_;
}

const std::vector<Json> &Json::items() const {
    expect(Kind::array, "an array");
    return items_;
}

const std::vector<std::pair<std::string, Json>> &Json::members() const {
    expect(Kind::object, "an object");
    return members_;
}

const Json *Json::find(std::string_view name) const {
    for (const auto &member : members())
        if (member.first == name) return &member.second;
    return nullptr;
}

const Json &Json::at(std::string_view name) const {
    if (const Json *found = find(name)) return *found;
    corrupt("expected a member '" + std::string(name) + "' in the JSON, got none");
}

}  // namespace rtsr
