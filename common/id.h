#pragma once

#include <compare>
#include <functional>
#include <string>

namespace vmferry {

// A name that cannot be mixed up with another kind of name: using DiskId = Id<struct DiskTag>.
template <typename Tag>
struct Id {
  std::string value;

  bool empty() const { return value.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;
};

using AgentId = Id<struct AgentTag>;  // "agent-1"; on Kubernetes the node's name
using JobId = Id<struct JobTag>;      // one disk's transfer: "<import uid>/<disk id>"

// 128 random bits as 32 lower-case hex digits, or as a UUID (version 4) with dashes.
std::string random_hex_id();
std::string random_uuid();

}  // namespace vmferry

template <typename Tag>
struct std::hash<vmferry::Id<Tag>> {
  std::size_t operator()(const vmferry::Id<Tag>& id) const {
    return std::hash<std::string>{}(id.value);
  }
};
