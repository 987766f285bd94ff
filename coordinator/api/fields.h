#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/result.h"

namespace vmferry::api {

// One JSON object being read, with its path for error texts ("spec.source.ovirt"). Null counts as
// absent, as the API reads it; unknown members are of no interest. A member of the wrong type is
// InvalidArgument with VMF-REQ-MANIFEST that names the path and both types.
class Fields {
 public:
  // `json` outlives this. Neither null nor an object: InvalidArgument.
  static Result<Fields> of(const nlohmann::json& json, std::string path);

  Result<std::optional<std::string>> text(const char* name) const;
  Result<std::string> text_or_empty(const char* name) const;
  Result<std::optional<bool>> boolean(const char* name) const;
  Result<std::uint64_t> count(const char* name) const;  // absent: 0
  Result<std::optional<Fields>> object(const char* name) const;
  // The items of a list; nothing when it is absent.
  Result<std::optional<std::vector<Fields>>> objects(const char* name) const;

 private:
  Fields(const nlohmann::json* json, std::string path) : json_(json), path_(std::move(path)) {}
  const nlohmann::json* find(const char* name) const;  // null: absent
  std::string path_of(const char* name) const;
  Error wrong_type(const char* name, const char* wanted, const nlohmann::json& found) const;

  const nlohmann::json* json_;
  std::string path_;
};

}  // namespace vmferry::api
