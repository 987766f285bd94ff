#include "coordinator/imports/preferences.h"

#include <algorithm>

#include "common/bytes.h"
#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// "win2k12r2" -> "2k12r2"; "win10" -> "10".
std::string windows_version(const std::string& os) { return os.substr(3); }

bool is_version_char(char c) { return (c >= '0' && c <= '9') || c == '.'; }

std::uint64_t vcpus_of(const SourceVm& vm) {
  return std::uint64_t{vm.cpu_sockets.value_or(1)} * vm.cpu_cores.value_or(1) *
         vm.cpu_threads.value_or(1);
}

// Exactly {"cpu": {"guest": n}, "memory": {"guest": "…"}} counts.
bool has_size(const json& spec, std::uint64_t vcpus, std::uint64_t memory_bytes) {
  if (!spec.is_object() || spec.size() != 2) return false;
  const auto cpu = spec.find("cpu");
  const auto memory = spec.find("memory");
  if (cpu == spec.end() || memory == spec.end()) return false;
  if (!cpu->is_object() || cpu->size() != 1 || !memory->is_object() || memory->size() != 1) {
    return false;
  }
  if (cpu->value("guest", json()) != json(vcpus)) return false;
  const json guest = memory->value("guest", json());
  if (!guest.is_string()) return false;
  const auto bytes = parse_quantity(guest.get_ref<const std::string&>());
  return bytes && *bytes == memory_bytes;
}

}  // namespace

std::vector<std::string> preference_candidates(const std::string& os) {
  std::vector<std::string> names;
  if (is_windows(os)) {
    const std::string version = windows_version(os);
    if (!version.empty() && version != "dows") names.push_back("windows." + version);
    names.emplace_back("windows");
    return names;
  }
  constexpr std::string_view kStream = "centos-stream";
  if (os.starts_with(kStream)) {
    names.push_back("centos.stream" + os.substr(kStream.size()));
    return names;
  }
  std::size_t start = os.size();
  while (start > 0 && is_version_char(os[start - 1])) --start;
  const std::string family = os.substr(0, start);
  const std::string version = os.substr(start);
  const std::string major = version.substr(0, version.find('.'));
  if (family.empty()) return names;
  if (!version.empty()) names.push_back(family + "." + version);
  if (!major.empty() && major != version) names.push_back(family + "." + major);
  names.push_back(family);
  if (family == "opensuse") names.emplace_back("opensuse.leap");
  if (family == "fedora-unknown") names.emplace_back("fedora");
  return names;
}

const kube::Object* find_preference(const std::vector<kube::Object>& preferences,
                                    const std::string& os) {
  for (const std::string& name : preference_candidates(os)) {
    for (const kube::Object& preference : preferences) {
      if (preference.name() == name) return &preference;
    }
  }
  return nullptr;
}

const kube::Object* find_instancetype(const std::vector<kube::Object>& instancetypes,
                                      const SourceVm& vm) {
  if (vm.cpu_dedicated || !vm.cpu_model.empty() || vm.hugepages_kib || vm.io_threads ||
      vm.nested_virtualization) {
    return nullptr;
  }
  const kube::Object* best = nullptr;
  for (const kube::Object& type : instancetypes) {
    const auto spec = type.json().find("spec");
    if (spec == type.json().end() || !has_size(*spec, vcpus_of(vm), vm.memory_bytes)) continue;
    if (best == nullptr || type.name() < best->name()) best = &type;
  }
  return best;
}

}  // namespace vmferry::imports
