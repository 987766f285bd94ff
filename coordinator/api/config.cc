#include "coordinator/api/config.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>

namespace vmferry::api {
namespace {

constexpr std::string_view kGate = "ImportWithoutTemplate";
constexpr std::string_view kLiveMigrationGate = "LiveMigration";
constexpr std::string_view kSeverityPrefix = "severity.";  // ours: "severity.vm.timezone: block"

std::string data_of(const kube::Object& config_map, const char* key) {
  const nlohmann::json& json = config_map.json();
  if (!json.is_object()) return "";
  const auto data = json.find("data");
  if (data == json.end() || !data->is_object()) return "";
  const auto value = data->find(key);
  return value == data->end() || !value->is_string() ? "" : value->get<std::string>();
}

// Unparsable: the default; negative: 0 (api.md 8.1).
int parse_int(std::string_view text, int fallback) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return fallback;
  return std::max(value, 0);
}

// The spellings of api.md 8.1; anything else is the default.
bool parse_bool(std::string_view text, bool fallback) {
  constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"};
  constexpr std::string_view kFalse[] = {"0", "f", "F", "FALSE", "false", "False"};
  if (std::find(std::begin(kTrue), std::end(kTrue), text) != std::end(kTrue)) return true;
  if (std::find(std::begin(kFalse), std::end(kFalse), text) != std::end(kFalse)) return false;
  return fallback;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Whole names only; upstream looks for the text anywhere in the list.
std::vector<std::string> comma_list(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    if (const std::string_view part = trim(text.substr(0, comma)); !part.empty()) {
      parts.emplace_back(part);
    }
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

bool lists_gate(std::string_view gates, std::string_view gate) {
  const std::vector<std::string> names = comma_list(gates);
  return std::find(names.begin(), names.end(), gate) != names.end();
}

std::optional<bool> optional_bool(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const bool value = parse_bool(text, false);
  return value == parse_bool(text, true) ? std::optional(value) : std::nullopt;
}

bool kubevirt_has_gate(const kube::Object& kubevirt) {
  static const nlohmann::json::json_pointer kPath(
      "/spec/configuration/developerConfiguration/featureGates");
  const nlohmann::json& json = kubevirt.json();
  if (!json.contains(kPath) || !json.at(kPath).is_array()) return false;
  const nlohmann::json& gates = json.at(kPath);
  return std::any_of(gates.begin(), gates.end(),
                     [](const nlohmann::json& gate) { return gate.is_string() && gate == kGate; });
}

std::map<std::string, std::string> severity_overrides(const kube::Object& config_map) {
  std::map<std::string, std::string> result;
  const nlohmann::json& json = config_map.json();
  if (!json.is_object() || !json.contains("data") || !json["data"].is_object()) return result;
  for (const auto& [key, value] : json["data"].items()) {
    if (!key.starts_with(kSeverityPrefix) || !value.is_string()) continue;
    const std::string level(trim(value.get_ref<const std::string&>()));
    if (level != "log" && level != "warn" && level != "block") continue;
    result.emplace(key.substr(kSeverityPrefix.size()), level);
  }
  return result;
}

}  // namespace

ControllerConfig parse_controller_config(const std::optional<kube::Object>& config_map,
                                         const std::optional<kube::Object>& kubevirt_config_map,
                                         const std::optional<kube::Object>& kubevirt) {
  ControllerConfig config;
  if (config_map) {
    const auto text = [&](const char* key) { return data_of(*config_map, key); };
    const ControllerConfig defaults;
    config.os_config_map_name = text("osConfigMap.name");
    config.os_config_map_namespace = text("osConfigMap.namespace");
    config.warm_max_failures =
        parse_int(text("warmImport.maxFailures"), defaults.warm_max_failures);
    config.warm_consecutive_failures =
        parse_int(text("warmImport.consecutiveFailures"), defaults.warm_consecutive_failures);
    config.warm_interval_minutes =
        parse_int(text("warmImport.intervalMinutes"), defaults.warm_interval_minutes);
    config.import_without_template = parse_bool(text("importWithoutTemplate"), false);
    config.time_zone_blocks = parse_bool(text("timeZoneBlocks"), false);
    config.severity_overrides = severity_overrides(*config_map);
    if (auto names = comma_list(text("templateNamespaces")); !names.empty()) {
      config.template_namespaces = std::move(names);
    }
    config.builtin_templates = optional_bool(text("builtinTemplates"));
    config.default_linux = trim(text("defaultLinux"));
    config.default_windows = trim(text("defaultWindows"));
    config.server_2016 = parse_bool(text("windows9Server64AsServer2016"), false);
    config.use_preferences = parse_bool(text("usePreferences"), false);
  }
  if (kubevirt_config_map) {
    const std::string gates = data_of(*kubevirt_config_map, "feature-gates");
    if (lists_gate(gates, kGate)) config.import_without_template = true;
    // Only a KubeVirt of the time before its own resource has this gate; later ones always migrate.
    if (!kubevirt) config.live_migration = lists_gate(gates, kLiveMigrationGate);
  }
  if (kubevirt && kubevirt_has_gate(*kubevirt)) config.import_without_template = true;
  return config;
}

}  // namespace vmferry::api
