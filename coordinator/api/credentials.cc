#include "coordinator/api/credentials.h"

#include <algorithm>
#include <map>
#include <string_view>

#include <yaml-cpp/yaml.h>

#include "common/catalogue.h"
#include "common/http_client.h"

namespace vmferry::api {
namespace {

// Kubernetes bounds a whole Secret so; a longer text is no credentials.
constexpr std::size_t kMaxBytes = 1 << 20;

std::string_view data_key(ProviderKind kind) {
  return kind == ProviderKind::Ovirt ? "ovirt" : "vmware";
}

// The flat map of one provider. Values may be secrets: errors name keys and places only.
class Section {
 public:
  static Result<Section> read(ProviderKind kind, const kube::Object& secret);

  template <typename... Args>
  Error invalid(fmt::format_string<Args...> text, Args&&... args) const {
    return coded_error(ErrorKind::InvalidArgument, code::kSecretInvalid,
                       "credentials for {} in secret '{}': {}", data_key(kind_), secret_,
                       fmt::format(text, std::forward<Args>(args)...));
  }
  const std::string* find(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  Result<std::string> required(const std::string& key) const {
    const std::string* value = find(key);
    if (value == nullptr) return invalid("key '{}' is missing", key);
    if (value->empty()) return invalid("key '{}' is empty", key);
    return *value;
  }

 private:
  Result<std::string> yaml_of(const kube::Object& secret) const;
  Result<void> parse(const std::string& yaml);

  ProviderKind kind_ = ProviderKind::Vmware;
  std::string secret_;
  std::map<std::string, std::string> values_;
};

// A secret without our data key is an empty map (API-41).
Result<std::string> Section::yaml_of(const kube::Object& secret) const {
  const nlohmann::json& json = secret.json();
  const std::string key(data_key(kind_));
  const auto entry = [&](const char* field) -> const nlohmann::json* {
    if (!json.is_object()) return nullptr;
    const auto map = json.find(field);
    if (map == json.end() || !map->is_object()) return nullptr;
    const auto value = map->find(key);
    return value == map->end() || value->is_null() ? nullptr : &*value;
  };
  // The API writes stringData over data; an unsent manifest may still have both.
  if (const nlohmann::json* plain = entry("stringData")) {
    if (!plain->is_string()) return invalid("stringData.{} is not a string", key);
    return plain->get<std::string>();
  }
  const nlohmann::json* encoded = entry("data");
  if (encoded == nullptr) return std::string("{}");
  if (!encoded->is_string()) return invalid("data.{} is not a string", key);
  Result<std::string> decoded = base64_decode(encoded->get_ref<const std::string&>());
  if (!decoded) return invalid("data.{} is not base64", key);
  return decoded;
}

Result<void> Section::parse(const std::string& yaml) {
  if (yaml.size() > kMaxBytes) return invalid("the text is longer than 1 MiB");
  try {
    const YAML::Node root = YAML::Load(yaml);
    if (root.IsNull()) return {};
    if (!root.IsMap()) return invalid("the text is not a map of keys and values");
    for (const auto& entry : root) {
      if (!entry.first.IsScalar()) return invalid("a key is not plain text");
      const std::string key = entry.first.Scalar();
      if (!entry.second.IsScalar() && !entry.second.IsNull()) {
        return invalid("key '{}' must be plain text", key);
      }
      // The literal text of any scalar: 0123, yes and 1.50 are passwords, not numbers.
      std::string value = entry.second.IsNull() ? "" : entry.second.Scalar();
      if (!values_.emplace(key, std::move(value)).second) {
        return invalid("key '{}' is there twice", key);
      }
    }
  } catch (const YAML::Exception& error) {
    // The library's text can quote the input, which holds the password.
    return invalid("not valid YAML at line {}, column {}", error.mark.line + 1,
                   error.mark.column + 1);
  }
  return {};
}

Result<Section> Section::read(ProviderKind kind, const kube::Object& secret) {
  Section section;
  section.kind_ = kind;
  section.secret_ = secret.key().to_string();
  const std::string yaml = TRY(section.yaml_of(secret));
  TRY(section.parse(yaml));
  return section;
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// Takes user and password out of the URL; they win over the keys (api.md 7.2 for VMware; the same
// for oVirt, since what stays in the URL is shown wherever the URL is).
Result<void> take_user_info(const Section& section, ProviderCredentials& credentials) {
  const Result<UrlParts> parts = parse_url(credentials.api_url);
  if (!parts) return section.invalid("key 'apiUrl' is not a URL");
  if (!parts->user.empty()) credentials.username = parts->user;
  if (!parts->password.empty()) credentials.password = parts->password;

  std::string& url = credentials.api_url;
  const std::size_t begin = url.find("://") + 3;
  const std::size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const std::size_t at = std::string_view(url).substr(0, end).rfind('@');
  if (at != std::string::npos && at >= begin) url.erase(begin, at + 1 - begin);
  return {};
}

Result<std::string> ca_certificates(const Section& section) {
  // DECISION-A4: the first alias that is there counts, in this order.
  for (const char* key : {"caCert", "ca.cert", "cacert"}) {
    const std::string* value = section.find(key);
    if (value == nullptr) continue;
    if (trimmed(*value).empty()) return section.invalid("key '{}' is empty", key);
    Result<std::string> pem = parse_ca_certificates(*value);
    if (!pem)
      return section.invalid("key '{}' holds no certificate: {}", key, pem.error().message());
    return pem;
  }
  return std::string();  // the system's trust store
}

}  // namespace

Result<ProviderCredentials> parse_credentials(ProviderKind kind, const kube::Object& secret) {
  const Section section = TRY(Section::read(kind, secret));
  ProviderCredentials credentials;
  credentials.kind = kind;
  credentials.api_url = trimmed(TRY(section.required("apiUrl")));
  credentials.username = TRY(section.required("username"));
  credentials.password = SecretString(TRY(section.required("password")));
  if (!credentials.api_url.starts_with("https://") && !credentials.api_url.starts_with("http://")) {
    return section.invalid("key 'apiUrl' must start with https://");
  }
  TRY(take_user_info(section, credentials));
  if (kind == ProviderKind::Ovirt) {
    credentials.ca_pem = TRY(ca_certificates(section));
    return credentials;
  }
  const std::string* thumbprint = section.find("thumbprint");
  if (thumbprint != nullptr && !trimmed(*thumbprint).empty()) {
    Result<std::string> parsed = parse_thumbprint(trimmed(*thumbprint));
    if (!parsed) return section.invalid("key 'thumbprint': {}", parsed.error().message());
    credentials.thumbprint = *std::move(parsed);
  }
  return credentials;
}

}  // namespace vmferry::api
