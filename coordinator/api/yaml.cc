#include "coordinator/api/yaml.h"

#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "common/catalogue.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 16 << 20;
constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 200'000;

// What repeating `value` costs, in nodes: a long text counts for many, so that aliases of it cannot
// grow a small manifest into gigabytes.
std::size_t count_nodes(const json& value) {
  constexpr std::size_t kTextBytesPerNode = 64;
  std::size_t count = 1;
  if (value.is_string()) {
    count += value.get_ref<const std::string&>().size() / kTextBytesPerNode;
  }
  if (value.is_structured()) {
    for (const json& child : value) count += count_nodes(child);
  }
  return count;
}

// Builds JSON from the parser's events. After the first problem it ignores what follows, since an
// event cannot stop the parser.
class Builder final : public YAML::EventHandler {
 public:
  struct Problem {
    YAML::Mark mark;
    std::string text;
  };
  const std::optional<Problem>& problem() const { return problem_; }
  bool has_document() const { return done_.has_value(); }
  YamlDocument take() { return std::move(*std::exchange(done_, std::nullopt)); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    stack_.clear();
    anchors_.clear();
    done_.reset();
    line_ = mark.line + 1;
  }
  void OnDocumentEnd() override {
    if (!done_) done_ = YamlDocument{nullptr, line_};
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    value(mark, anchor, nullptr, "");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    // "?" is the tag of plain scalars, "!" that of quoted ones.
    json scalar = tag == "?" || tag.empty() ? plain_scalar(text) : json(text);
    value(mark, anchor, std::move(scalar), text, tag == "?");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (problem_) return;
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) return fail(mark, "an alias inside its own anchor");
    nodes_ += found->second.second;
    value(mark, 0, found->second.first, "");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, json::array());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, json::object());
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    json value;
    YAML::Mark mark;
    YAML::anchor_t anchor = 0;
    std::optional<std::string> key;  // read, its value not yet
    bool merge_key = false;
    std::vector<json> merges;  // values of <<
  };

  void fail(const YAML::Mark& mark, std::string text) {
    if (!problem_) problem_ = Problem{mark, std::move(text)};
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, json empty) {
    if (problem_) return;
    if (stack_.size() >= kMaxDepth) return fail(mark, "nested more than 64 levels deep");
    if (!stack_.empty() && stack_.back().value.is_object() && !stack_.back().key) {
      return fail(mark, "a key must be plain text, not a list or map");
    }
    if (stack_.empty()) line_ = mark.line + 1;
    stack_.push_back({std::move(empty), mark, anchor, std::nullopt, false, {}});
  }

  void close() {
    if (problem_) return;
    Level level = std::move(stack_.back());
    stack_.pop_back();
    for (const json& merged : level.merges) {
      for (const auto& [key, value] : merged.items()) {
        if (!level.value.contains(key)) level.value[key] = value;
      }
    }
    value(level.mark, level.anchor, std::move(level.value), "");
  }

  // A complete node: a key, a map's value, a list's item or the document.
  void value(const YAML::Mark& mark, YAML::anchor_t anchor, json node, const std::string& text,
             bool plain = false) {
    if (problem_) return;
    if (++nodes_ > kMaxNodes) return fail(mark, "more than 200 000 values, aliases expanded");
    if (anchor != 0) anchors_[anchor] = {node, count_nodes(node)};
    if (stack_.empty()) {
      if (!done_) done_ = YamlDocument{std::move(node), line_};
      return;
    }
    Level& level = stack_.back();
    if (level.value.is_array()) {
      level.value.push_back(std::move(node));
    } else if (!level.key) {
      take_key(level, mark, node, text, plain);
    } else {
      take_value(level, mark, std::move(node));
    }
  }

  void take_key(Level& level, const YAML::Mark& mark, const json& node, const std::string& text,
                bool plain) {
    if (node.is_structured()) return fail(mark, "a key must be plain text, not a list or map");
    // The literal text: `on: x` keeps its key. An alias to a string may also be a key.
    level.key = !text.empty() || !node.is_string() ? text : node.get<std::string>();
    level.merge_key = plain && text == "<<";
    if (!level.merge_key && level.value.contains(*level.key)) {
      fail(mark, "key '" + *level.key + "' is there twice");
    }
  }

  void take_value(Level& level, const YAML::Mark& mark, json node) {
    const std::string key = *std::exchange(level.key, std::nullopt);
    if (!level.merge_key) {
      level.value[key] = std::move(node);
      return;
    }
    std::vector<json> merges;
    if (node.is_array()) {
      merges.assign(node.begin(), node.end());
    } else {
      merges.push_back(std::move(node));
    }
    for (json& merge : merges) {
      if (!merge.is_object()) return fail(mark, "<< takes a map or a list of maps");
      level.merges.push_back(std::move(merge));
    }
  }

  std::vector<Level> stack_;
  std::map<YAML::anchor_t, std::pair<json, std::size_t>> anchors_;
  std::size_t nodes_ = 0;
  std::optional<YamlDocument> done_;
  std::optional<Problem> problem_;
  int line_ = 1;
};

Error at(const std::string& name, const YAML::Mark& mark, std::string_view what) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{}:{}:{}: {}", name,
                     mark.line + 1, mark.column + 1, what);
}

}  // namespace

Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, const std::string& name) {
  if (text.size() > kMaxBytes) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                       "{}: larger than 16 MiB: split it", name);
  }
  std::vector<YamlDocument> documents;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder;
    while (parser.HandleNextDocument(builder)) {
      if (builder.problem()) return at(name, builder.problem()->mark, builder.problem()->text);
      if (builder.has_document()) documents.push_back(builder.take());
    }
  } catch (const YAML::Exception& error) {
    return at(name, error.mark, error.msg + ": check indentation, quotes and colons there");
  }
  return documents;
}

}  // namespace vmferry::api
