#include "transfer/sources/imageio_answers.h"

#include <algorithm>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace vmferry {
namespace {

constexpr int kMostReaders = 64;

// Takes the array element by element, without a tree of the whole text (tens of megabytes).
class ExtentsHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Extent> extents;
  std::string problem;
  bool complete = false;

  bool null() override { return ignore_scalar(); }
  bool boolean(bool value) override {
    if (depth_ == 2 && key_ == Key::Zero) zero_ = value;
    return ignore_scalar();
  }
  bool number_integer(std::int64_t) override { return refuse_number(); }
  bool number_unsigned(std::uint64_t value) override {
    if (depth_ == 2 && key_ == Key::Start) start_ = value;
    if (depth_ == 2 && key_ == Key::Length) length_ = value;
    return ignore_scalar();
  }
  bool number_float(double, const std::string&) override { return refuse_number(); }
  bool string(std::string&) override { return ignore_scalar(); }
  bool binary(nlohmann::json::binary_t&) override { return refuse("binary"); }

  bool start_object(std::size_t) override {
    if (depth_ != 1) return refuse("an object in a wrong place");
    ++depth_;
    start_.reset();
    length_.reset();
    zero_.reset();
    return true;
  }
  bool key(std::string& name) override {
    key_ = name == "start"    ? Key::Start
           : name == "length" ? Key::Length
           : name == "zero"   ? Key::Zero
                              : Key::Other;
    return true;
  }
  bool end_object() override {
    --depth_;
    if (!start_ || !length_) return refuse("an extent without start or length");
    if (*length_ == 0) return refuse("an empty extent");
    const std::uint64_t end = extents.empty() ? 0 : extents.back().range.end();
    if (*start_ != end)
      return refuse(fmt::format("an extent at {} after one that ends at {}", *start_, end));
    if (*length_ > (std::uint64_t{1} << 62) - end) return refuse("an extent that is too long");
    const Allocation allocation = zero_.value_or(false) ? Allocation::Zero : Allocation::Data;
    if (!extents.empty() && extents.back().allocation == allocation) {
      extents.back().range.length += *length_;
    } else {
      extents.push_back({{*start_, *length_}, allocation});
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 0) return refuse("an array in a wrong place");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    complete = true;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("text that is not JSON");
  }

 private:
  enum class Key { Start, Length, Zero, Other };

  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  bool refuse_number() {
    return depth_ == 2 && (key_ == Key::Start || key_ == Key::Length) ? refuse("a bad number")
                                                                      : ignore_scalar();
  }
  bool ignore_scalar() { return depth_ == 2 || refuse("a value in a wrong place"); }

  int depth_ = 0;
  Key key_ = Key::Other;
  std::optional<std::uint64_t> start_;
  std::optional<std::uint64_t> length_;
  std::optional<bool> zero_;
};

}  // namespace

ImageioOptions parse_imageio_options(const HttpResponse& response) {
  ImageioOptions options;
  if (response.status != 200) return options;
  const nlohmann::json json = nlohmann::json::parse(response.body, nullptr, false);
  if (!json.is_object()) return options;
  if (const auto features = json.find("features"); features != json.end() && features->is_array()) {
    for (const nlohmann::json& feature : *features) {
      options.extents |= feature == "extents";
      options.checksum |= feature == "checksum";
    }
  }
  if (const auto readers = json.find("max_readers");
      readers != json.end() && readers->is_number_unsigned()) {
    options.max_readers =
        static_cast<int>(std::clamp<std::uint64_t>(readers->get<std::uint64_t>(), 1, kMostReaders));
  }
  return options;
}

Result<std::vector<Extent>> parse_imageio_extents(std::string_view json, std::uint64_t size_bytes) {
  ExtentsHandler handler;
  const bool parsed = nlohmann::json::sax_parse(json, &handler);
  if (!parsed || !handler.complete) {
    return make_error(ErrorKind::InvalidArgument, "the list of extents holds {}",
                      handler.problem.empty() ? "no array" : handler.problem);
  }
  const std::uint64_t end = handler.extents.empty() ? 0 : handler.extents.back().range.end();
  if (handler.extents.empty() || (size_bytes != 0 && end != size_bytes)) {
    return make_error(ErrorKind::InvalidArgument, "the list of extents ends at {} of {} bytes", end,
                      size_bytes);
  }
  return std::move(handler.extents);
}

std::vector<Extent> absorb_small_gaps(const std::vector<Extent>& extents, std::uint64_t gap) {
  std::vector<Extent> result;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    Extent extent = extents[i];
    const bool inside = i > 0 && i + 1 < extents.size();
    if (extent.allocation == Allocation::Zero && inside && extent.range.length < gap) {
      extent.allocation = Allocation::Data;
    }
    result.push_back(extent);
  }
  return merge_adjacent(std::move(result));
}

}  // namespace vmferry
