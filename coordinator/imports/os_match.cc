#include "coordinator/imports/os_match.h"

#include <yaml-cpp/yaml.h>

#include "common/catalogue.h"
#include "coordinator/imports/os_maps.h"

namespace vmferry::imports {

namespace {

// A ConfigMap is at most 1 MiB as a whole; more than this is no list of operating systems.
constexpr std::size_t kLargestUserMap = 1024 * 1024;

void add_all(std::map<std::string, std::string>& map, std::span<const OsMapEntry> entries) {
  for (const OsMapEntry& entry : entries) map.emplace(entry.key, entry.value);
}

Error map_error(const kube::Object& config_map, std::string_view key, std::string_view cause) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                     "user OS config map '{}', key '{}': {}; write one 'name: value' a line",
                     config_map.key().to_string(), key, cause);
}

Result<std::map<std::string, std::string>> parse_user_map(const kube::Object& config_map,
                                                          const std::string& key,
                                                          const std::string& text) {
  if (text.size() > kLargestUserMap) return map_error(config_map, key, "is larger than 1 MiB");
  std::map<std::string, std::string> entries;
  try {
    const YAML::Node node = YAML::Load(text);
    if (node.IsNull()) return entries;
    if (!node.IsMap()) return map_error(config_map, key, "is not a YAML map");
    for (const auto& pair : node) {
      if (!pair.first.IsScalar() || !(pair.second.IsScalar() || pair.second.IsNull())) {
        return map_error(config_map, key, "holds something else than text");
      }
      entries[pair.first.Scalar()] = pair.second.IsNull() ? "" : pair.second.Scalar();
    }
  } catch (const YAML::Exception& exception) {
    return map_error(config_map, key, exception.what());
  }
  return entries;
}

Result<void> overlay(std::map<std::string, std::string>& map, const kube::Object& config_map,
                     const std::string& key) {
  const auto data = config_map.json().find("data");
  if (data == config_map.json().end() || !data->is_object()) return {};
  const auto value = data->find(key);
  if (value == data->end() || !value->is_string()) return {};
  const std::map<std::string, std::string> entries =
      TRY(parse_user_map(config_map, key, value->get<std::string>()));
  for (const auto& [name, common] : entries) {
    if (common.empty()) {
      map.erase(name);
    } else {
      map[name] = common;
    }
  }
  return {};
}

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lowered;
}

const std::string* lookup(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

// The last resort: a word in the source's free text.
std::optional<OsMatch> guess(std::string_view what, const std::string& text,
                             std::string_view linux_name, std::string_view windows_name) {
  const auto because = [&](std::string_view name) {
    return OsMatch{
        std::string(name),
        fmt::format("guessed from a word in the {} '{}'; no map has an entry for it", what, text)};
  };
  const std::string lowered = lower(text);
  if (lowered.find("linux") != std::string::npos || lowered.find("rhel") != std::string::npos) {
    return because(linux_name);
  }
  if (lowered.find("win") != std::string::npos) return because(windows_name);
  return std::nullopt;
}

OsMatch mapped(const std::string& os, std::string_view what, const std::string& key) {
  return {os, fmt::format("the {} is '{}'", what, key)};
}

std::optional<OsMatch> find_ovirt_os(const SourceVm& vm, const OsMaps& maps) {
  if (const std::string* prefix = lookup(maps.guestos2common, vm.guest_distribution)) {
    return mapped(*prefix + vm.guest_version, "guest agent's distribution",
                  vm.guest_distribution + " " + vm.guest_version);
  }
  if (const std::string* common = lookup(maps.osinfo2common, vm.os_type)) {
    return mapped(*common, "configured OS type", vm.os_type);
  }
  return guess("configured OS type", vm.os_type, "rhel8.2", "win10");
}

std::optional<OsMatch> find_vmware_os(const SourceVm& vm, const OsMaps& maps) {
  if (const std::string* common = lookup(maps.osinfo2common, vm.os_type_reported)) {
    return mapped(*common, "guest id reported by the tools", vm.os_type_reported);
  }
  if (const std::string* common = lookup(maps.osinfo2common, vm.os_type)) {
    return mapped(*common, "configured guest id", vm.os_type);
  }
  return guess("guest's full name", vm.os_full_name, "rhel8", "windows");
}

}  // namespace

OsMaps builtin_os_maps() {
  OsMaps maps;
  add_all(maps.guestos2common, upstream_guest_os());
  add_all(maps.guestos2common, added_guest_os());
  add_all(maps.osinfo2common, upstream_os_info());
  add_all(maps.osinfo2common, added_os_info());
  return maps;
}

Result<OsMaps> overlay_os_maps(OsMaps base, const kube::Object& config_map) {
  TRY(overlay(base.guestos2common, config_map, "guestos2common"));
  TRY(overlay(base.osinfo2common, config_map, "osinfo2common"));
  return base;
}

Result<OsMatch> match_os(const SourceVm& vm, const OsMaps& maps) {
  std::optional<OsMatch> os =
      vm.provider == ProviderKind::Ovirt ? find_ovirt_os(vm, maps) : find_vmware_os(vm, maps);
  if (os) return *std::move(os);
  return coded_error(ErrorKind::NotFound, code::kTemplate,
                     "cannot tell the operating system of VM '{}' (guest '{} {}', type '{}', "
                     "reported '{}', full name '{}'); set its type at the source or add an entry "
                     "for it to the OS config map",
                     vm.name, vm.guest_distribution, vm.guest_version, vm.os_type,
                     vm.os_type_reported, vm.os_full_name);
}

Result<std::string> find_os(const SourceVm& vm, const OsMaps& maps) {
  return TRY(match_os(vm, maps)).os;
}

}  // namespace vmferry::imports
