#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <msgpack.hpp>

#include "common/endpoint.h"
#include "common/error.h"
#include "common/id.h"
#include "common/result.h"
#include "common/secret.h"

// How values become msgpack and come back. A struct S is a map; its keys stand in one function
// template fields(archive, s), found by argument lookup, that calls archive.field("key", s.member)
// (required) or archive.optional("key", s.member) (absent: keeps its default). Encoder and decoder
// walk the same function, so they cannot disagree.
namespace vmferry::protocol {

// Byte strings that are not text: msgpack "bin" instead of "str".
struct Bytes {
  std::string& value;
};
struct ConstBytes {
  const std::string& value;
};
inline Bytes bytes(std::string& value) { return {value}; }
inline ConstBytes bytes(const std::string& value) { return {value}; }

// Text that a person reads: control characters and invalid UTF-8 become '?', at most 4 KiB.
struct People {
  std::string& value;
};
struct ConstPeople {
  const std::string& value;
};
inline People people(std::string& value) { return {value}; }
inline ConstPeople people(const std::string& value) { return {value}; }
std::string text_for_people(std::string_view text);

// ---- encoding ----

using Packer = msgpack::packer<msgpack::sbuffer>;

struct CountingArchive {
  std::uint32_t count = 0;
  template <typename T>
  void field(std::string_view, const T&) {
    ++count;
  }
  template <typename T>
  void optional(std::string_view, const T&) {
    ++count;
  }
};

template <typename T>
void pack(Packer& out, const T& value);

class PackingArchive {
 public:
  explicit PackingArchive(Packer& out) : out_(out) {}
  template <typename T>
  void field(std::string_view key, const T& value) {
    out_.pack(key);
    pack(out_, value);
  }
  template <typename T>
  void optional(std::string_view key, const T& value) {
    field(key, value);
  }

 private:
  Packer& out_;
};

template <typename T>
struct IsId : std::false_type {};
template <typename Tag>
struct IsId<Id<Tag>> : std::true_type {};
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsMap : std::false_type {};
template <typename T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <typename T>
struct IsPair : std::false_type {};
template <typename A, typename B>
struct IsPair<std::pair<A, B>> : std::true_type {};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

inline void pack_binary(Packer& out, std::string_view value) {
  out.pack_bin(static_cast<std::uint32_t>(value.size()));
  out.pack_bin_body(value.data(), static_cast<std::uint32_t>(value.size()));
}

template <typename T>
void pack(Packer& out, const T& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_arithmetic_v<T> ||
                std::is_same_v<T, std::string>) {
    out.pack(value);
  } else if constexpr (IsId<T>::value) {
    out.pack(value.value);
  } else if constexpr (std::is_same_v<T, SecretString>) {
    out.pack(value.reveal());
  } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
    out.pack(static_cast<std::int64_t>(value.count()));
  } else if constexpr (std::is_same_v<T, ConstBytes> || std::is_same_v<T, Bytes>) {
    pack_binary(out, value.value);
  } else if constexpr (std::is_same_v<T, ConstPeople> || std::is_same_v<T, People>) {
    out.pack(text_for_people(value.value));
  } else if constexpr (std::is_enum_v<T>) {
    out.pack(to_string(value));
  } else if constexpr (IsVector<T>::value) {
    out.pack_array(static_cast<std::uint32_t>(value.size()));
    for (const auto& item : value) {
      // Arrays of plain strings are lists of journal chunks: binary.
      if constexpr (std::is_same_v<T, std::vector<std::string>>) {
        pack_binary(out, item);
      } else {
        pack(out, item);
      }
    }
  } else if constexpr (IsPair<T>::value) {
    out.pack_array(2);
    pack(out, value.first);
    pack(out, value.second);
  } else if constexpr (IsMap<T>::value) {
    out.pack_map(static_cast<std::uint32_t>(value.size()));
    for (const auto& [key, item] : value) {
      out.pack(key);
      pack(out, item);
    }
  } else if constexpr (IsOptional<T>::value) {
    if (value) {
      pack(out, *value);
    } else {
      out.pack_nil();
    }
  } else {
    CountingArchive counter;
    fields(counter, value);
    out.pack_map(counter.count);
    PackingArchive archive(out);
    fields(archive, value);
  }
}

// ---- decoding ----

// Walks fields() over a msgpack map. The first thing that is missing or wrong is kept in error();
// later fields are then left alone.
class UnpackingArchive {
 public:
  // `where` names the map in errors: the message's kind, then the field that holds the map.
  UnpackingArchive(const msgpack::object& map, std::string where);

  template <typename T>
  void field(std::string_view key, T&& into) {
    read(key, into, true);
  }
  template <typename T>
  void optional(std::string_view key, T&& into) {
    read(key, into, false);
  }
  std::optional<Error> take_error() { return std::move(error_); }

 private:
  const msgpack::object* find(std::string_view key) const;
  void fail(std::string_view key, std::string_view expected);

  template <typename T>
  void read(std::string_view key, T& into, bool required) {
    if (error_) return;
    const msgpack::object* value = find(key);
    if (value == nullptr || value->type == msgpack::type::NIL) {
      if (required) fail(key, "is missing");
      return;
    }
    unpack(key, *value, into);
  }

  // One value of each wire type; wrong types and numbers out of range call fail().
  void unpack(std::string_view key, const msgpack::object& from, bool& into);
  void unpack(std::string_view key, const msgpack::object& from, double& into);
  void unpack(std::string_view key, const msgpack::object& from, std::uint64_t& into);
  void unpack(std::string_view key, const msgpack::object& from, std::uint32_t& into);
  void unpack(std::string_view key, const msgpack::object& from, std::int32_t& into);
  void unpack(std::string_view key, const msgpack::object& from, std::string& into);
  void unpack(std::string_view key, const msgpack::object& from, Bytes& into);
  void unpack(std::string_view key, const msgpack::object& from, People& into);
  void unpack(std::string_view key, const msgpack::object& from, SecretString& into);
  void unpack(std::string_view key, const msgpack::object& from, std::chrono::milliseconds& into);

  template <typename Tag>
  void unpack(std::string_view key, const msgpack::object& from, Id<Tag>& into) {
    unpack(key, from, into.value);
    if (!error_ && into.value.empty()) fail(key, "is empty");
  }
  template <typename T>
  void unpack(std::string_view key, const msgpack::object& from, std::vector<T>& into) {
    if (from.type != msgpack::type::ARRAY) return fail(key, "must be an array");
    into.clear();
    into.reserve(from.via.array.size);
    for (std::uint32_t i = 0; i < from.via.array.size && !error_; ++i) {
      if constexpr (std::is_same_v<T, std::string>) {
        Bytes item{into.emplace_back()};
        unpack(key, from.via.array.ptr[i], item);
      } else {
        unpack(key, from.via.array.ptr[i], into.emplace_back());
      }
    }
  }
  template <typename A, typename B>
  void unpack(std::string_view key, const msgpack::object& from, std::pair<A, B>& into) {
    if (from.type != msgpack::type::ARRAY || from.via.array.size != 2) {
      return fail(key, "must be an array of two");
    }
    unpack(key, from.via.array.ptr[0], into.first);
    if (!error_) unpack(key, from.via.array.ptr[1], into.second);
  }
  template <typename T>
  void unpack(std::string_view key, const msgpack::object& from, std::map<std::string, T>& into) {
    if (from.type != msgpack::type::MAP) return fail(key, "must be a map");
    into.clear();
    for (std::uint32_t i = 0; i < from.via.map.size && !error_; ++i) {
      std::string name;
      unpack(key, from.via.map.ptr[i].key, name);
      if (!error_) unpack(key, from.via.map.ptr[i].val, into[name]);
    }
  }
  template <typename T>
  void unpack(std::string_view key, const msgpack::object& from, std::optional<T>& into) {
    unpack(key, from, into.emplace());
  }
  template <typename T>
  requires std::is_enum_v<T>
  void unpack(std::string_view key, const msgpack::object& from, T& into) {
    std::string name;
    unpack(key, from, name);
    if (!error_ && !from_string(name, into)) fail(key, "has an unknown value");
  }
  template <typename T>
  requires(std::is_class_v<T>&& requires(T& t, UnpackingArchive& a) {
    fields(a, t);
  }) void unpack(std::string_view key, const msgpack::object& from, T& into) {
    if (from.type != msgpack::type::MAP) return fail(key, "must be a map");
    UnpackingArchive inner(from, where_ + "." + std::string(key));
    fields(inner, into);
    error_ = inner.take_error();
  }

  const msgpack::object& map_;
  std::string where_;
  std::optional<Error> error_;
};

// Limits that every message keeps; checked before anything is allocated for its content.
inline constexpr std::uint32_t kMaxDepth = 8;
inline constexpr std::uint32_t kMaxItems = 16384;     // of one array or map
inline constexpr std::uint32_t kMaxValues = 400'000;  // of the whole message
inline constexpr std::uint32_t kMaxTextBytes = 1u << 20;

// InvalidArgument when `data` is no single msgpack value within those limits.
Result<void> check_shape(std::string_view data);

}  // namespace vmferry::protocol
