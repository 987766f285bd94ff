#include "coordinator/api/fields.h"

#include "common/catalogue.h"

namespace vmferry::api {

Result<Fields> Fields::of(const nlohmann::json& json, std::string path) {
  if (!json.is_object() && !json.is_null()) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{} must be an object, not {}",
                       path.empty() ? "the text" : path, json.type_name());
  }
  return Fields(&json, std::move(path));
}

const nlohmann::json* Fields::find(const char* name) const {
  if (!json_->is_object()) return nullptr;
  const auto found = json_->find(name);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::path_of(const char* name) const {
  return path_.empty() ? name : path_ + "." + name;
}

Error Fields::wrong_type(const char* name, const char* wanted, const nlohmann::json& found) const {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{} must be {}, not {}",
                     path_of(name), wanted, found.type_name());
}

Result<std::optional<std::string>> Fields::text(const char* name) const {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong_type(name, "a string", *value);
  return std::optional<std::string>(value->get<std::string>());
}

Result<std::string> Fields::text_or_empty(const char* name) const {
  const std::optional<std::string> value = TRY(text(name));
  return value.value_or("");
}

Result<std::optional<bool>> Fields::boolean(const char* name) const {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return wrong_type(name, "true or false", *value);
  return std::optional<bool>(value->get<bool>());
}

Result<std::uint64_t> Fields::count(const char* name) const {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::uint64_t{0};
  // A parser makes integers unsigned where it can; a program may have made them signed.
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  if (value->is_number_integer() && value->get<std::int64_t>() >= 0) {
    return static_cast<std::uint64_t>(value->get<std::int64_t>());
  }
  return wrong_type(name, "a whole number from 0", *value);
}

Result<std::optional<Fields>> Fields::object(const char* name) const {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::optional<Fields>();
  Fields fields = TRY(of(*value, path_of(name)));
  return std::optional<Fields>(std::move(fields));
}

Result<std::optional<std::vector<Fields>>> Fields::objects(const char* name) const {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::optional<std::vector<Fields>>();
  if (!value->is_array()) return wrong_type(name, "a list", *value);
  std::vector<Fields> result;
  for (std::size_t i = 0; i < value->size(); ++i) {
    result.push_back(TRY(of((*value)[i], fmt::format("{}[{}]", path_of(name), i))));
  }
  return std::optional<std::vector<Fields>>(std::move(result));
}

}  // namespace vmferry::api
