#include "coordinator/imports/template_sources.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "coordinator/api/manifest.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestFile = 4 * 1024 * 1024;

void read_text(const std::string& text, const std::string& origin, const std::string& ns,
               ShippedTemplates& shipped) {
  const auto report = [&](const std::string& what) {
    shipped.findings.push_back(rules::finding("template.source", origin, what));
  };
  auto objects = api::parse_manifests(text, origin, ns);
  if (!objects) return report(objects.error().message());
  for (api::ManifestObject& one : *objects) {
    kube::Object& object = one.object;
    if (object.kind() != kube::types::kTemplate.kind ||
        object.api_version() != kube::types::kTemplate.api_version) {
      report(fmt::format("'{}' is a {} {} and no {}", object.name(), object.api_version(),
                         object.kind(), kube::types::kTemplate.kind));
      continue;
    }
    if (!ns.empty()) object.json()["metadata"]["namespace"] = ns;
    shipped.templates.push_back(std::move(object));
  }
}

bool is_manifest(const fs::path& path) {
  const fs::path extension = path.extension();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

}  // namespace

ShippedTemplates templates_of(const kube::Object& config_map) {
  ShippedTemplates shipped;
  const auto data = config_map.json().find("data");
  if (data == config_map.json().end() || !data->is_object()) return shipped;
  for (const auto& [key, value] : data->items()) {
    if (!value.is_string()) continue;
    read_text(value.get_ref<const std::string&>(),
              fmt::format("ConfigMap '{}', key '{}'", config_map.key().to_string(), key),
              config_map.ns(), shipped);
  }
  return shipped;
}

ShippedTemplates templates_in(const std::string& directory) {
  ShippedTemplates shipped;
  std::error_code failure;
  std::vector<fs::path> files;
  fs::directory_iterator entry(directory, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    if (is_manifest(entry->path())) files.push_back(entry->path());
  }
  if (failure && failure != std::errc::no_such_file_or_directory) {
    shipped.findings.push_back(
        rules::finding("template.source/directory", directory, failure.message()));
  }
  std::ranges::sort(files);
  for (const fs::path& path : files) {
    const std::uintmax_t size = fs::file_size(path, failure);
    std::ifstream file(path);
    std::stringstream text;
    if (!failure && size <= kLargestFile) text << file.rdbuf();
    if (failure || size > kLargestFile || !file) {
      shipped.findings.push_back(rules::finding("template.source/file", path.string()));
      continue;
    }
    read_text(text.str(), "'" + path.string() + "'", "", shipped);
  }
  return shipped;
}

}  // namespace vmferry::imports
