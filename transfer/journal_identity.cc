// The identity functions of transfer/resume.h (pure).
#include <set>

#include <nlohmann/json.hpp>

#include "transfer/resume.h"

namespace vmferry {
namespace {

using Json = nlohmann::ordered_json;
using Pairs = std::vector<std::pair<std::string, std::string>>;

Json to_json(const Pairs& pairs) {
  Json list = Json::array();
  for (const auto& [name, value] : pairs) list.push_back(Json::array({name, value}));
  return list;
}

Result<Pairs> pairs_from(const Json& json) {
  Pairs pairs;
  if (!json.is_array()) return Error(ErrorKind::DataLoss, "journal identity: no list");
  for (const Json& pair : json) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return Error(ErrorKind::DataLoss, "journal identity: no pair of texts");
    }
    pairs.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
  }
  return pairs;
}

std::optional<std::string> value_of(const Pairs& pairs, const std::string& name) {
  for (const auto& [key, value] : pairs) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string pairs_difference(std::string_view end, const Pairs& before, const Pairs& now) {
  if (before == now) return {};
  for (const auto& [name, value] : before) {
    const std::optional<std::string> other = value_of(now, name);
    if (!other) return fmt::format("{} no longer tells {} ('{}' before)", end, name, value);
    if (*other != value) {
      return fmt::format("{} {} changed from '{}' to '{}'", end, name, value, *other);
    }
  }
  for (const auto& [name, value] : now) {
    if (!value_of(before, name)) return fmt::format("{} {} is new: '{}'", end, name, value);
  }
  return fmt::format("{} identity changed its order", end);
}

}  // namespace

std::string identity_text(const JournalIdentity& identity) {
  const Json json{{"job", identity.job},
                  {"size_bytes", identity.size_bytes},
                  {"hash", identity.hash},
                  {"source", to_json(identity.source)},
                  {"target", to_json(identity.target)}};
  // Names that are no UTF-8 must not throw; such texts still compare, if less exactly.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<JournalIdentity> identity_from_text(std::string_view text) {
  constexpr std::size_t kMostBytes = 64u << 10;
  const Error bad(ErrorKind::DataLoss, "journal identity: not the expected JSON");
  if (text.size() > kMostBytes) return bad;
  try {
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return bad;
    for (const char* key : {"job", "hash"}) {
      if (!json.contains(key) || !json[key].is_string()) return bad;
    }
    if (!json.contains("size_bytes") || !json["size_bytes"].is_number_unsigned() ||
        !json.contains("source") || !json.contains("target")) {
      return bad;
    }
    return JournalIdentity{.job = json["job"].get<std::string>(),
                           .size_bytes = json["size_bytes"].get<std::uint64_t>(),
                           .hash = json["hash"].get<std::string>(),
                           .source = TRY(pairs_from(json["source"])),
                           .target = TRY(pairs_from(json["target"]))};
  } catch (const Json::exception& error) {
    return make_error(ErrorKind::DataLoss, "journal identity: {}", error.what());
  }
}

std::string identity_difference(const JournalIdentity& before, const JournalIdentity& now) {
  if (before.job != now.job) {
    return fmt::format("job changed from '{}' to '{}'", before.job, now.job);
  }
  if (before.size_bytes != now.size_bytes) {
    return fmt::format("disk size changed from {} to {} bytes", before.size_bytes, now.size_bytes);
  }
  if (before.hash != now.hash) {
    return fmt::format("hash changed from {} to {}", before.hash, now.hash);
  }
  std::string source = pairs_difference("source", before.source, now.source);
  return source.empty() ? pairs_difference("target", before.target, now.target) : source;
}

}  // namespace vmferry
