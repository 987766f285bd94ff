#include "coordinator/kube/rest/paths.h"

#include "common/http_client.h"

namespace vmferry::kube {

std::string group_path(const ResourceType& type) {
  return (type.group().empty() ? "/api/" : "/apis/") + type.api_version;
}

std::string collection_path(const ResourceType& type, std::string_view ns) {
  std::string path = group_path(type);
  if (type.namespaced && !ns.empty()) path += "/namespaces/" + url_encode(ns);
  return path + "/" + type.plural;
}

std::string object_path(const ResourceType& type, const ObjectKey& key) {
  return collection_path(type, key.ns) + "/" + url_encode(key.name);
}

std::string query(const std::vector<std::pair<std::string_view, std::string>>& parameters) {
  std::string text;
  for (const auto& [name, value] : parameters) {
    if (value.empty()) continue;
    text += text.empty() ? '?' : '&';
    text += std::string(name) + "=" + url_encode(value);
  }
  return text;
}

}  // namespace vmferry::kube
