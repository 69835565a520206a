// Weight files are used only if they are what their manifest says; anything else is refused, with a reason.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "json.hpp"
#include "sha256.hpp"
#include "vectors.hpp"

using namespace rtsr;
using check::contains;
namespace fs = std::filesystem;

namespace {

/// A copy of the random model that a test may damage.
struct Copy {
    Copy() : folder(fs::temp_directory_path() / ("rtsr-test-" + std::to_string(::getpid()))) {
        fs::remove_all(folder);
        fs::copy(vectors_folder() + "/random", folder);
        path = folder / "random.json";
        file = folder / Manifest::parse(read(path)).file;
    }
    ~Copy() { fs::remove_all(folder); }

    static std::string read(const fs::path &from) {
        std::ifstream stream(from, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    static void write(const fs::path &to, const std::string &content) {
        std::ofstream(to, std::ios::binary | std::ios::trunc) << content;
    }
    /// Puts one text for another in the manifest.
    void edit(const std::string &from, const std::string &to) const {
        std::string text = read(path);
        const size_t at = text.find(from);
        CHECK(at != text.npos);
        write(path, text.replace(at, from.size(), to));
    }
    /// Puts other tensors behind the manifest, with a hash that fits.
    void swap(const std::string &content) const {
        const auto *bytes = reinterpret_cast<const uint8_t *>(content.data());
        edit(Manifest::parse(read(path)).sha256, sha256(bytes, content.size()));
        write(file, content);
    }
    std::string refused(rtsr_status status = RTSR_CORRUPT) const {
        return REFUSED(status, Model::open(path.string(), Precision::FLOAT32, kernels()));
    }

    fs::path folder, path, file;
};

std::string safetensors(const std::string &header, const std::string &data) {
    std::string length;
    for (int i = 0; i < 8; ++i) length += char(header.size() >> 8 * i & 255);
    return length + header + data;
}

void read_tensors(const std::string &content) {
    Tensors(reinterpret_cast<const uint8_t *>(content.data()), content.size());
}

}  // namespace

TEST(a_whole_model_opens) {
    const Copy copy;
    CHECK(Model::open(copy.path.string(), Precision::FLOAT32, kernels())->spec().rate == 16000);
}

TEST(one_changed_bit_is_found) {
    const Copy copy;
    std::string content = Copy::read(copy.file);
    content[content.size() / 2] = char(content[content.size() / 2] ^ 1);
    Copy::write(copy.file, content);
    const std::string message = copy.refused();
    CHECK(contains(message, "expected sha256") && contains(message, "got") && contains(message, "install rtsr again"));
}

TEST(a_file_that_is_not_there_is_named) {
    const Copy copy;
    fs::remove(copy.file);
    CHECK(contains(copy.refused(RTSR_MISSING), copy.file.filename().string() + " is missing"));
    fs::remove(copy.path);
    CHECK(contains(copy.refused(RTSR_MISSING), "random.json"));
    fs::create_directory(copy.path);
    copy.refused(RTSR_MISSING);
}

TEST(a_manifest_cannot_reach_out_of_its_folder) {
    const Copy copy;
    fs::copy(copy.file, copy.folder / "outside");
    fs::create_directory(copy.folder / "deep");
    fs::copy(copy.path, copy.folder / "deep");
    const std::string deep = (copy.folder / "deep" / "random.json").string(), name = copy.file.filename().string();
    std::string text = Copy::read(copy.path);
    Copy::write(deep, text.replace(text.find(name), name.size(), "../outside"));
    CHECK(contains(REFUSED(RTSR_MISSING, Model::open(deep, Precision::FLOAT32, kernels())), "deep/outside is missing"));
}

TEST(a_manifest_that_says_something_else_is_refused) {
    const std::pair<const char *, const char *> edits[] = {
        {"\"format\": 2", "\"format\": 1"},       {"\"kernel\": 7", "\"kernel\": 5"},
        {"\"hop\": 80", "\"hop\": 81"},           {"\"memory\": 19", "\"memory\": 20"},
        {"\"rate\": 16000", "\"rate\": 0"},       {"\"expansion\": 2.0", "\"expansion\": 1e300"},
        {"\"kernel\"", "\"unheard_of\""},         {"\"files\"", "\"file\""},
        {"\"hop\": 80,", "\"hop\": 80, \"hop\": 80,"}, {"\"bottleneck_blocks\": 2", "\"bottleneck_blocks\": 99"},
        {"\"history\": 480", "\"history\": 4.8e2.1"}, {"\"widths\": [", "\"widths\": [-1, "},
        {"\"window\": \"sqrt-hann\"", "\"window\": \"hann\""}};
    for (const auto &[from, to] : edits) {
        const Copy copy;
        copy.edit(from, to);
        CHECK(contains(copy.refused(), "random.json is no manifest"));
    }
}

TEST(tensors_of_another_network_are_refused_even_if_the_hash_fits) {
    const Copy copy;
    copy.swap("not tensors");
    CHECK(contains(copy.refused(), "random"));
    copy.swap(safetensors(R"({"enter.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234"));
    CHECK(contains(copy.refused(), "expected shape"));
}

TEST(tensors_are_read_as_they_were_written) {
    const float values[] = {1.5f, -2.0f};
    const std::string data(reinterpret_cast<const char *>(values), sizeof values);
    const std::string content =
        safetensors(R"({"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} )", data);
    const Tensors tensors(reinterpret_cast<const uint8_t *>(content.data()), content.size());
    CHECK((tensors.read("x", {1, 2}) == std::vector<float>{1.5f, -2.0f}));
    CHECK(contains(REFUSED(RTSR_CORRUPT, tensors.read("x", {2})), "expected shape (2), got (1, 2)"));
    CHECK(contains(REFUSED(RTSR_CORRUPT, tensors.read("y", {2})), "expected a tensor 'y'"));
}

TEST(what_is_no_safetensors_is_refused) {
    const std::string one = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    read_tensors(safetensors(one, "1234"));
    for (const std::string &bad :
         {std::string(), std::string(7, '\0'), std::string(8, '\xff'), std::string(9, '\0'), safetensors(one, "123"),
          safetensors(one, "12345"), safetensors("[]", ""), safetensors("{}", "1"), safetensors("{", ""),
          safetensors(R"({"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "1234"),
          safetensors(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
          safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234"),
          safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", "1234"),
          safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678"),
          safetensors(R"({"x":{"dtype":"F32","shape":[2147483648,2147483648],"data_offsets":[0,4]}})", "1234"),
          safetensors(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234")})
        REFUSED(RTSR_CORRUPT, read_tensors(bad));
    const float nan[] = {NAN};
    const std::string content = safetensors(one, std::string(reinterpret_cast<const char *>(nan), 4));
    const Tensors tensors(reinterpret_cast<const uint8_t *>(content.data()), content.size());
    CHECK(contains(REFUSED(RTSR_CORRUPT, tensors.read("x", {1})), "expected numbers"));
}

TEST(json_is_read_strictly) {
    const Json json = Json::parse(R"( {"a": [1, -2.5e1, true, null], "b": "\u00e9\ud83d\ude00\n\"", "c": {}} )");
    CHECK(json.at("a").items().size() == 4);
    CHECK(json.at("a").items()[1].number() == -25);
    CHECK(json.at("b").text() == "\xc3\xa9\xf0\x9f\x98\x80\n\"");
    CHECK(json.find("d") == nullptr);
    for (const char *bad : {"", " ", "{", "[", "[1,]", "{\"a\":1,}", "{\"a\"}", "01", "+1", ".5", "1.", "1e", "nul",
                            "\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\u12\"", "\"a\nb\"", "1 2", "NaN",
                            "1e999", "{\"a\":1,\"a\":2}", "{1:2}", "'a'", "[1}", "-"})
        REFUSED(RTSR_CORRUPT, Json::parse(bad));
    REFUSED(RTSR_CORRUPT, Json::parse(std::string(100000, '[')));
}

TEST(hashes_are_those_of_the_standard) {
    auto hash = [](const std::string &text) {
        return sha256(reinterpret_cast<const uint8_t *>(text.data()), text.size());
    };
    CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(a_file_that_is_cut_after_it_was_opened_ends_nothing) {
    const Copy copy;
    const Weights weights = Weights::open(copy.path.string());
    fs::resize_file(copy.file, 0);  // a mapping would end the process with SIGBUS
    CHECK(sha256(weights.tensors.data(), weights.tensors.size()) == weights.manifest.sha256);
}

TEST(what_is_no_file_is_refused_at_once) {
    const Copy copy;
    fs::remove(copy.file);
    CHECK(::mkfifo(copy.file.c_str(), 0600) == 0);  // nobody writes to it
    CHECK(contains(copy.refused(RTSR_MISSING), "is no file with something in it"));
    fs::remove(copy.file);
    Copy::write(copy.file, "");
    fs::resize_file(copy.file, uintmax_t(3) << 30);
    CHECK(contains(copy.refused(RTSR_MISSING), "expected at most 2 GiB"));
}
