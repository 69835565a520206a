#include "manifest.hpp"

#include "file.hpp"
#include "frames.hpp"
#include "json.hpp"
#include "sha256.hpp"

namespace rtsr {

namespace {

constexpr int FORMAT = 2;  // 1 wrote spectra, 2 writes envelopes
constexpr int WIDEST = 8192;        // channels; bounds on sizes keep a damaged manifest from asking for all memory
constexpr int LONGEST = 4096;       // frames that a layer may look back
constexpr int MOST_RATE = 192'000;

std::vector<int> integers(const Json &json, size_t least_items, int most) {
    std::vector<int> out;
    for (const Json &item : json.items()) out.push_back(int(item.integer(1, most)));
    if (out.size() < least_items || out.size() > 16)
        corrupt("expected " + std::to_string(least_items) + " to 16 sizes, got " + std::to_string(out.size()));
    return out;
}

void only(const Json &json, const std::vector<std::string_view> &known) {
    for (const auto &[name, value] : json.members()) {
        bool is_known = false;
        for (auto word : known) is_known |= word == name;
        if (!is_known) corrupt("unknown size '" + name + "': the model is newer than this library");
    }
}

Spec read_spec(const Json &json) {
    only(json, {"rate", "hop", "history", "synthesis", "cutoff_min_hz", "cutoff_max_hz", "window"});
    Spec spec;
    spec.rate = int(json.at("rate").integer(1, MOST_RATE));
    spec.hop = int(json.at("hop").integer(1, spec.rate));
    spec.history = int(json.at("history").integer(1, MOST_RATE));
    spec.synthesis = int(json.at("synthesis").integer(1, MOST_RATE));
    spec.cutoff_min_hz = json.at("cutoff_min_hz").number();
    spec.cutoff_max_hz = json.at("cutoff_max_hz").number();
    if (const Json *window = json.find("window"); window && window->text() != WINDOW)
        corrupt("no synthesis window named '" + window->text() + "': there is " + WINDOW);
    if (spec.synthesis != 2 * spec.hop || spec.history % (2 * spec.hop) || spec.rate % spec.hop)
        corrupt("expected synthesis = 2 hops, an even number of hops of history and a whole number in a second; got " +
                std::to_string(spec.synthesis) + ", " + std::to_string(spec.history) + ", " +
                std::to_string(spec.rate) + " with a hop of " + std::to_string(spec.hop));
    if (!(0 < spec.cutoff_min_hz && spec.cutoff_min_hz <= spec.cutoff_max_hz && spec.cutoff_max_hz <= spec.rate))
        corrupt("expected 0 < cutoff_min_hz <= cutoff_max_hz <= rate");
    return spec;
}

NetConfig read_net(const Json &json) {
    only(json, {"widths", "kernel", "dilations", "expansion", "bottleneck_blocks", "memory", "spec"});
    NetConfig net;
    net.spec = read_spec(json.at("spec"));
    net.widths = integers(json.at("widths"), 1, WIDEST);
    net.dilations = integers(json.at("dilations"), net.widths.size(), LONGEST);
    if (net.dilations.size() != net.widths.size())
        corrupt("expected as many dilations as widths, " + std::to_string(net.widths.size()) + ", got " +
                std::to_string(net.dilations.size()));
    net.kernel = int(json.at("kernel").integer(2, 64));
    net.bottleneck_blocks = int(json.at("bottleneck_blocks").integer(0, 8));
    net.memory = int(json.at("memory").integer(1, WIDEST));
    net.expansion = json.at("expansion").number();
    for (int width : net.widths)
        if (!(width * net.expansion >= 1 && width * net.expansion <= WIDEST))
            corrupt("expected an expansion to 1 to " + std::to_string(WIDEST) + " channels, got " +
                    std::to_string(net.expansion) + " times " + std::to_string(width));
    for (const auto &[name, shape] : net.states())
        if (shape.first > LONGEST) corrupt(name + " looks back " + std::to_string(shape.first) + " frames, too many");
    return net;
}

void check_states(const Json &json, const NetConfig &net) {
    const auto expected = net.states();
    if (json.members().size() != expected.size())
        corrupt("expected " + std::to_string(expected.size()) + " states, got " +
                std::to_string(json.members().size()));
    for (const auto &[name, shape] : expected) {
        const std::vector<int> found = integers(json.at(name), 2, WIDEST);
        if (found != std::vector<int>{shape.first, shape.second})
            corrupt("state " + name + ": expected (" + std::to_string(shape.first) + ", " +
                    std::to_string(shape.second) + ")");
    }
}

/// The last part of a path: a manifest cannot reach out of its folder.
std::string base_name(const std::string &path) { return path.substr(path.find_last_of('/') + 1); }

std::string folder_of(const std::string &path) { return path.substr(0, path.find_last_of('/') + 1); }

}  // namespace

std::map<std::string, std::pair<int, int>> NetConfig::states() const {
    std::map<std::string, std::pair<int, int>> out;
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
        const std::pair<int, int> shape{(kernel - 1) * dilations[i], widths[i]};
        out["encoder" + std::to_string(i)] = shape;
        out["decoder" + std::to_string(i)] = shape;
    }
    for (int i = 0; i < bottleneck_blocks; ++i)
        out["bottleneck" + std::to_string(i)] = {(kernel - 1) * (dilations.back() << i), widths.back()};
    out["memory"] = {1, memory};
    return out;
}

Manifest Manifest::parse(std::string_view text) {
    const Json json = Json::parse(text);
    if (json.at("format").integer(0, 1 << 30) != FORMAT)
        corrupt("expected format " + std::to_string(FORMAT) + ", got another: the model and this library are of different "
                "versions of rtsr");
    Manifest manifest;
    manifest.name = json.at("name").text();
    const Json &file = json.at("files").at("safetensors");
    manifest.file = base_name(file.at("file").text());
    manifest.sha256 = file.at("sha256").text();
    manifest.net = read_net(json.at("net"));
    check_states(json.at("states"), manifest.net);
    return manifest;
}

Weights Weights::open(const std::string &path) {
    const std::vector<uint8_t> text = read_file(path);
    Weights weights;
    try {
        weights.manifest = Manifest::parse({reinterpret_cast<const char *>(text.data()), text.size()});
    } catch (const Error &error) {
        throw Error(error.status, path + " is no manifest of a model: " + error.what());
    }
    const std::string file = folder_of(path) + weights.manifest.file;
    weights.tensors = read_file(file);
    const std::string found = sha256(weights.tensors.data(), weights.tensors.size());
    if (found != weights.manifest.sha256)
        corrupt(file + " does not match its manifest: expected sha256 " + weights.manifest.sha256 + ", got " + found +
                "; install rtsr again");
    return weights;
}

}  // namespace rtsr
