#include "cli/columns.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/duration.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

using nlohmann::json;

// What stands at a JSON pointer as text; empty when it is not there.
std::string text_at(const json& value, const char* pointer) {
  const json::json_pointer where(pointer);
  if (!value.is_object() || !value.contains(where)) return "";
  const json& found = value.at(where);
  if (found.is_string()) return found.get<std::string>();
  return found.is_null() || found.is_structured() ? "" : found.dump();
}

std::size_t size_at(const json& value, const char* pointer) {
  const json::json_pointer where(pointer);
  return value.is_object() && value.contains(where) ? value.at(where).size() : 0;
}

std::string owner_of(const kube::Object& object) {
  for (const kube::OwnerReference& owner : object.owners()) {
    if (owner.controller) return owner.kind + "/" + owner.name;
  }
  return "";
}

struct Columns {
  std::vector<std::string> titles;  // between NAME and AGE
  std::vector<std::string> (*cells)(const kube::Object&);
};

std::vector<std::string> claim_cells(const kube::Object& claim) {
  const json& value = claim.json();
  const auto size = parse_quantity(text_at(value, "/spec/resources/requests/storage"));
  return {text_at(value, "/spec/storageClassName"), size ? human_bytes(*size) : "",
          text_at(value, "/status/phase"), claim.annotation("vmferry.io/path").value_or(""),
          owner_of(claim)};
}

std::vector<std::string> vm_cells(const kube::Object& vm) {
  const json& value = vm.json();
  const std::string domain = "/spec/template/spec/domain";
  const auto number = [&](const char* field) {
    const std::string text = text_at(value, (domain + "/cpu/" + field).c_str());
    return text.empty() ? 1 : std::atoi(text.c_str());
  };
  std::string memory = text_at(value, (domain + "/memory/guest").c_str());
  if (memory.empty()) memory = text_at(value, (domain + "/resources/requests/memory").c_str());
  return {fmt::format("{}", number("sockets") * number("cores") * number("threads")), memory,
          fmt::format("{}", size_at(value, (domain + "/devices/disks").c_str())),
          text_at(value, "/spec/running"), owner_of(vm)};
}

std::vector<std::string> secret_cells(const kube::Object& secret) {
  std::string keys;
  for (const char* section : {"data", "stringData"}) {
    const auto found = secret.json().find(section);
    if (found == secret.json().end() || !found->is_object()) continue;
    for (const auto& [key, value] : found->items()) keys += (keys.empty() ? "" : ",") + key;
  }
  return {text_at(secret.json(), "/type"), keys};
}

std::vector<std::string> mapping_cells(const kube::Object& mapping) {
  std::string providers;
  std::size_t networks = 0, storage = 0;
  for (const std::string provider : {"ovirt", "vmware"}) {
    if (!mapping.json().contains(json::json_pointer("/spec/" + provider))) continue;
    providers += (providers.empty() ? "" : ",") + provider;
    networks += size_at(mapping.json(), ("/spec/" + provider + "/networkMappings").c_str());
    storage += size_at(mapping.json(), ("/spec/" + provider + "/storageMappings").c_str());
  }
  return {providers, fmt::format("{}", networks), fmt::format("{}", storage)};
}

std::vector<std::string> class_cells(const kube::Object& storage_class) {
  std::string parameters;
  const auto found = storage_class.json().find("parameters");
  if (found != storage_class.json().end() && found->is_object()) {
    for (const auto& [key, value] : found->items()) {
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      parameters += fmt::format("{}{}={}", parameters.empty() ? "" : ",", key, text);
    }
  }
  const bool is_default =
      storage_class.annotation("storageclass.kubernetes.io/is-default-class") == "true";
  return {text_at(storage_class.json(), "/provisioner"), is_default ? "yes" : "no", parameters};
}

std::vector<std::string> config_cells(const kube::Object& config) {
  return {fmt::format("{}", size_at(config.json(), "/data"))};
}

Columns columns_of(const kube::ResourceType& type) {
  if (type == kube::types::kPersistentVolumeClaim) {
    return {{"CLASS", "SIZE", "PHASE", "PATH", "OWNER"}, claim_cells};
  }
  if (type == kube::types::kVirtualMachine) {
    return {{"CPU", "MEMORY", "DISKS", "RUNNING", "OWNER"}, vm_cells};
  }
  if (type == kube::types::kSecret) return {{"TYPE", "KEYS"}, secret_cells};
  if (type == kube::types::kResourceMapping) {
    return {{"PROVIDERS", "NETWORKS", "STORAGE"}, mapping_cells};
  }
  if (type == kube::types::kStorageClass) {
    return {{"PROVISIONER", "DEFAULT", "PARAMETERS"}, class_cells};
  }
  if (type == kube::types::kConfigMap) return {{"KEYS"}, config_cells};
  return {{}, [](const kube::Object&) { return std::vector<std::string>{}; }};
}

std::string last_time(const kube::Object& event) {
  const std::string last = text_at(event.json(), "/lastTimestamp");
  return last.empty() ? event.creation_timestamp() : last;
}

std::string events_table(std::vector<kube::Object> events, const TableOptions& options) {
  std::ranges::stable_sort(events, {}, last_time);
  std::vector<std::string> titles{"LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"};
  if (options.with_namespace) titles.insert(titles.begin(), "NAMESPACE");
  Table table(std::move(titles));
  for (const kube::Object& event : events) {
    const json& value = event.json();
    std::vector<std::string> row{
        age_text(last_time(event), options.now),
        text_at(value, "/type"),
        text_at(value, "/reason"),
        text_at(value, "/involvedObject/kind") + "/" + text_at(value, "/involvedObject/name"),
        text_at(value, "/count"),
        text_at(value, "/message")};
    if (options.with_namespace) row.insert(row.begin(), event.ns());
    table.add(std::move(row));
  }
  return table.text();
}

}  // namespace

std::string imports_table(const std::vector<ImportView>& imports, const TableOptions& options) {
  std::vector<std::string> titles{"NAME",     "VM",   "SOURCE", "PHASE",
                                  "PROGRESS", "RATE", "ETA",    "AGE"};
  if (options.wide) titles.insert(titles.end(), {"DISKS", "MOVED", "MESSAGE"});
  if (options.with_namespace) titles.insert(titles.begin(), "NAMESPACE");
  Table table(std::move(titles));
  for (const ImportView& import : imports) {
    std::vector<std::string> row{import.key.name,
                                 import.target_vm,
                                 import.source,
                                 phase_text(import),
                                 fmt::format("{}%", import.progress),
                                 import.ended() ? "" : human_rate(import.bytes_per_second()),
                                 eta_text(import.seconds_left()),
                                 age_text(import.created_at, options.now)};
    if (options.wide) {
      row.push_back(fmt::format("{}", import.disks.size()));
      row.push_back(human_bytes(import.moved_bytes()));
      row.push_back(import.message);
    }
    if (options.with_namespace) row.insert(row.begin(), import.key.ns);
    table.add(std::move(row));
  }
  return table.text();
}

std::string agents_table(const std::vector<AgentView>& agents) {
  Table table({"ID", "STATE", "SLOTS", "JOBS", "RATE", "MOVED", "HEARD"});
  for (const AgentView& agent : agents) {
    const char* connected = agent.draining ? "draining" : "connected";
    table.add({agent.agent.value, agent.connected ? connected : "lost",
               fmt::format("{}/{} free", agent.free_slots, agent.slots),
               fmt::format("{}", agent.jobs), human_rate(agent.bytes_per_second),
               human_bytes(agent.bytes_moved),
               fmt::format("{:.1f}s ago", agent.seconds_since_heard)});
  }
  return table.text();
}

std::string objects_table(const kube::ResourceType& type, std::vector<kube::Object> objects,
                          const TableOptions& options) {
  if (type == kube::types::kEvent) return events_table(std::move(objects), options);
  const Columns columns = columns_of(type);
  std::vector<std::string> titles{"NAME"};
  const bool with_namespace = options.with_namespace && type.namespaced;
  if (with_namespace) titles.insert(titles.begin(), "NAMESPACE");
  titles.insert(titles.end(), columns.titles.begin(), columns.titles.end());
  const bool with_manifest = type == kube::types::kVirtualMachine;
  if (with_manifest) titles.emplace_back("MANIFEST");
  titles.emplace_back("AGE");
  Table table(std::move(titles));
  for (const kube::Object& object : objects) {
    std::vector<std::string> row{object.name()};
    if (with_namespace) row.insert(row.begin(), object.ns());
    for (std::string& cell : columns.cells(object)) row.push_back(std::move(cell));
    if (with_manifest) {
      const auto manifest = options.manifests.find(object.key());
      row.push_back(manifest == options.manifests.end() ? "" : manifest->second);
    }
    row.push_back(age_text(object.creation_timestamp(), options.now));
    table.add(std::move(row));
  }
  return table.text();
}

}  // namespace vmferry::cli
