#include "coordinator/imports/template_search.h"

#include <algorithm>
#include <charconv>

#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

struct OsName {
  std::string family;        // "rhel", "centos-stream"
  std::vector<int> version;  // {8, 1}; empty: unknown
};

// "rhel8.1" is family and trailing version. What is no such thing ("win2k19",
// "fedora-coreos-stable") has itself as family and no version.
OsName split_os(const std::string& os) {
  std::size_t start = os.size();
  while (start > 0 && ((os[start - 1] >= '0' && os[start - 1] <= '9') || os[start - 1] == '.')) {
    --start;
  }
  OsName name{os.substr(0, start), {}};
  const char* at = os.data() + start;
  const char* const end = os.data() + os.size();
  while (at < end) {
    int part = 0;
    const auto [rest, error] = std::from_chars(at, end, part);
    if (error != std::errc() || (rest < end && *rest != '.')) return {os, {}};
    name.version.push_back(part);
    at = rest < end ? rest + 1 : end;
  }
  constexpr std::string_view kUnknown = "-unknown";
  if (name.version.empty() && name.family.ends_with(kUnknown)) {
    name.family.resize(name.family.size() - kUnknown.size());
  }
  return name;
}

// The label of the highest version in the family, of one major release or of any.
std::string newest(const std::set<std::string>& known, const std::string& family,
                   std::optional<int> major) {
  std::string best;
  std::vector<int> best_version;
  for (const std::string& label : known) {
    OsName name = split_os(label);
    if (name.family != family || name.version.empty()) continue;
    if (major && name.version.front() != *major) continue;
    if (best.empty() || name.version > best_version) {
      best = label;
      best_version = std::move(name.version);
    }
  }
  return best;
}

}  // namespace

std::vector<std::string> os_candidates(const std::string& os, const std::set<std::string>& known,
                                       const TemplateSearch& search) {
  std::vector<std::string> candidates;
  const auto add = [&candidates](const std::string& label) {
    if (!label.empty() && std::ranges::find(candidates, label) == candidates.end()) {
      candidates.push_back(label);
    }
  };
  add(os);
  if (is_windows(os)) {  // "2k12r2" and "10" are products, not versions of one
    add("windows");
    if (os == "windows") add(search.generic_windows);
    return candidates;
  }
  const OsName name = split_os(os);
  if (name.version.size() > 2) {
    add(fmt::format("{}{}.{}", name.family, name.version[0], name.version[1]));
  }
  if (name.version.empty()) {
    add(newest(known, name.family, std::nullopt));
  } else {
    add(newest(known, name.family, name.version.front()));
    add(fmt::format("{}{}", name.family, name.version.front()));
  }
  add(name.family);
  add("linux");
  if (os == "linux" && search.generic_linux != "linux") {
    for (const std::string& label : os_candidates(search.generic_linux, known, search)) add(label);
  }
  return candidates;
}

std::vector<std::pair<std::string, std::string>> workload_flavors(const SourceVm& vm) {
  if (vm.provider == ProviderKind::Vmware) {
    return {{"server", "small"}, {"desktop", "small"}, {"server", "medium"}, {"desktop", "medium"},
            {"server", "large"}, {"desktop", "large"}, {"server", "tiny"},   {"desktop", "tiny"}};
  }
  std::string own = vm.workload;
  std::erase(own, '_');
  std::vector<std::string> workloads;
  for (const std::string& workload : {own, std::string("server"), std::string("desktop")}) {
    if (workload.empty() || std::ranges::find(workloads, workload) != workloads.end()) continue;
    workloads.push_back(workload);
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& workload : workloads) {
    for (const char* flavor : {"medium", "small", "large", "tiny"}) {
      pairs.emplace_back(workload, flavor);
    }
  }
  return pairs;
}

}  // namespace vmferry::imports
