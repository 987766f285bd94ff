#include "common/protocol_codec.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "common/protocol.h"

namespace vmferry::protocol {
namespace {

constexpr std::size_t kMaxPeopleBytes = 4096;

// Counts values and depth without keeping any: a short message may announce a huge array, and a
// long one may hold millions of one-byte values that would each become a 24-byte object.
class ShapeVisitor : public msgpack::null_visitor {
 public:
  bool visit_nil() { return value(); }
  bool visit_boolean(bool) { return value(); }
  bool visit_positive_integer(std::uint64_t) { return value(); }
  bool visit_negative_integer(std::int64_t) { return value(); }
  bool visit_float32(float) { return value(); }
  bool visit_float64(double) { return value(); }
  bool visit_str(const char*, std::uint32_t) { return value(); }
  bool visit_bin(const char*, std::uint32_t) { return value(); }
  bool visit_ext(const char*, std::uint32_t) { return refuse("an extension type"); }
  bool start_array(std::uint32_t items) { return open(items); }
  bool end_array() { return close(); }
  bool start_map(std::uint32_t items) { return open(items); }
  bool end_map() { return close(); }
  void parse_error(std::size_t, std::size_t) {
    if (problem_.empty()) problem_ = "not msgpack";
  }
  void insufficient_bytes(std::size_t, std::size_t) {
    if (problem_.empty()) problem_ = "ends early";
  }
  const std::string& problem() const { return problem_; }

 private:
  bool refuse(const char* problem) {
    if (problem_.empty()) problem_ = problem;
    return false;
  }
  bool value() { return ++values_ <= kMaxValues || refuse("too many values"); }
  bool open(std::uint32_t items) {
    if (items > kMaxItems) return refuse("an array or map with too many items");
    if (++depth_ > kMaxDepth) return refuse("nested too deep");
    return value();
  }
  bool close() {
    --depth_;
    return true;
  }

  std::string problem_;
  std::uint32_t values_ = 0;
  std::uint32_t depth_ = 0;
};

// Length of the valid UTF-8 sequence at the start of `text`; 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  std::size_t length = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

template <typename T>
bool unsigned_in_range(const msgpack::object& from, T& into) {
  if (from.type != msgpack::type::POSITIVE_INTEGER) return false;
  if (from.via.u64 > std::numeric_limits<T>::max()) return false;
  into = static_cast<T>(from.via.u64);
  return true;
}

}  // namespace

std::string text_for_people(std::string_view text) {
  std::string clean;
  clean.reserve(std::min(text.size(), kMaxPeopleBytes));
  while (!text.empty() && clean.size() < kMaxPeopleBytes - 4) {
    const std::size_t length = utf8_length(text);
    const bool printable = length > 1 || (length == 1 && text[0] >= ' ' && text[0] != 0x7f);
    if (printable) {
      clean.append(text.substr(0, length));
    } else {
      clean.push_back(length == 1 && text[0] == '\n' ? ' ' : '?');
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return clean;
}

Result<void> check_shape(std::string_view data) {
  ShapeVisitor visitor;
  std::size_t offset = 0;
  bool complete = false;
  try {
    complete = msgpack::parse(data.data(), data.size(), offset, visitor);
  } catch (const std::exception& error) {
    return make_error(ErrorKind::InvalidArgument, "message: {}", error.what());
  }
  if (!complete || !visitor.problem().empty()) {
    return make_error(ErrorKind::InvalidArgument, "message: {}",
                      visitor.problem().empty() ? "not msgpack" : visitor.problem());
  }
  if (offset != data.size()) {
    return make_error(ErrorKind::InvalidArgument, "message: {} bytes follow its end",
                      data.size() - offset);
  }
  return {};
}

UnpackingArchive::UnpackingArchive(const msgpack::object& map, std::string where)
    : map_(map), where_(std::move(where)) {}

const msgpack::object* UnpackingArchive::find(std::string_view key) const {
  for (std::uint32_t i = 0; i < map_.via.map.size; ++i) {
    const msgpack::object& name = map_.via.map.ptr[i].key;
    if (name.type == msgpack::type::STR &&
        std::string_view(name.via.str.ptr, name.via.str.size) == key) {
      return &map_.via.map.ptr[i].val;
    }
  }
  return nullptr;
}

void UnpackingArchive::fail(std::string_view key, std::string_view expected) {
  if (!error_) {
    error_ = make_error(ErrorKind::InvalidArgument, "{}: field '{}' {}", where_, key, expected);
  }
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from, bool& into) {
  if (from.type != msgpack::type::BOOLEAN) return fail(key, "must be a boolean");
  into = from.via.boolean;
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from, double& into) {
  if (from.type == msgpack::type::POSITIVE_INTEGER) {
    into = static_cast<double>(from.via.u64);
  } else if (from.type == msgpack::type::FLOAT64 || from.type == msgpack::type::FLOAT32) {
    // Rates and durations: one that is no number would poison every sum it enters.
    if (!std::isfinite(from.via.f64)) return fail(key, "must be a finite number");
    into = from.via.f64;
  } else {
    fail(key, "must be a number");
  }
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              std::uint64_t& into) {
  if (!unsigned_in_range(from, into)) fail(key, "must be an unsigned integer");
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              std::uint32_t& into) {
  if (!unsigned_in_range(from, into)) fail(key, "must be an unsigned 32-bit integer");
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              std::int32_t& into) {
  if (!unsigned_in_range(from, into)) fail(key, "must be a small unsigned integer");
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              std::string& into) {
  if (from.type != msgpack::type::STR) return fail(key, "must be a string");
  if (from.via.str.size > kMaxTextBytes) return fail(key, "is too long");
  into.assign(from.via.str.ptr, from.via.str.size);
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from, Bytes& into) {
  if (from.type != msgpack::type::BIN) return fail(key, "must be binary");
  if (from.via.bin.size > kMaxJournalPartBytes) return fail(key, "is too long");
  into.value.assign(from.via.bin.ptr, from.via.bin.size);
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from, People& into) {
  std::string text;
  unpack(key, from, text);
  into.value = text_for_people(text);
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              SecretString& into) {
  std::string text;
  unpack(key, from, text);
  into = SecretString(std::move(text));
}

void UnpackingArchive::unpack(std::string_view key, const msgpack::object& from,
                              std::chrono::milliseconds& into) {
  std::uint32_t count = 0;  // 49 days are enough for every duration of the protocol
  unpack(key, from, count);
  into = std::chrono::milliseconds(count);
}

}  // namespace vmferry::protocol
