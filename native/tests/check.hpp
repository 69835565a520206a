// Tests that register themselves: none is listed by hand, so none is forgotten.
#pragma once

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "error.hpp"

namespace check {

struct Case {
    const char *name;
    void (*run)();
};

inline std::vector<Case> &cases() {
    static std::vector<Case> all;
    return all;
}

struct Failed {};

inline void fail(const char *file, int line, const std::string &what) {
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
    throw Failed();
}

struct Register {
    Register(const char *name, void (*run)()) { cases().push_back({name, run}); }
};

/// The refusal's message; fails where nothing is refused, or with another status.
inline std::string refusal(rtsr_status expected, const std::function<void()> &act, const char *file, int line) {
    try {
        act();
    } catch (const rtsr::Error &error) {
        if (error.status != expected)
            fail(file, line, "refused with status " + std::to_string(error.status) + ": " + error.what());
        return error.what();
    }
    fail(file, line, "not refused");
    return "";
}

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != text.npos; }

/// Runs every test; returns how many failed.
inline int run_all() {
    int failed = 0;
    for (const Case &test : cases()) {
        bool passed = false;
        try {
            test.run();
            passed = true;
        } catch (const Failed &) {
        } catch (const std::exception &error) {
            std::fprintf(stderr, "%s: %s\n", test.name, error.what());
        }
        std::printf("%s %s\n", passed ? "ok  " : "FAIL", test.name);
        failed += !passed;
    }
    if (cases().empty()) std::fprintf(stderr, "no tests\n");
    return cases().empty() ? 1 : failed;
}

}  // namespace check

#define TEST(name)                                    \
    static void name();                               \
    static const check::Register register_##name(#name, name); \
    static void name()

#define CHECK(condition) \
    do {                 \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
    } while (0)

#define REFUSED(status, act) check::refusal(status, [&] { act; }, __FILE__, __LINE__)

#ifndef CHECK_NO_MAIN  // a program that is no collection of tests
int main() { return check::run_all() ? 1 : 0; }
#endif
