#include "coordinator/imports/templates.h"

#include <algorithm>
#include <tuple>

#include "common/catalogue.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/template_search.h"

namespace vmferry::imports {

namespace {

// Label and annotation alike: releases of the common templates differ in where they put these.
std::string mark(const kube::Object& object, std::string_view key) {
  const std::map<std::string, std::string> labels = object.labels();
  const auto found = labels.find(std::string(key));
  return found != labels.end() ? found->second : object.annotation(key).value_or("");
}

// Kubernetes speaks Go's names of architectures, sources those of the Linux kernel.
std::string go_architecture(const std::string& architecture) {
  if (architecture.empty() || architecture == "undefined" || architecture == "x86_64") {
    return "amd64";
  }
  if (architecture == "aarch64") return "arm64";
  if (architecture == "ppc64") return "ppc64le";  // oVirt's ppc64 has been little-endian for long
  return architecture;
}

bool is_base(const kube::Object& object) {
  return mark(object, "template.kubevirt.io/type") == "base";
}

// By namespace as configured; base templates before the users' own; the newest first; then by name:
// a total order.
bool is_better(const kube::Object& a, const kube::Object& b, const TemplateSearch& search) {
  const auto place = [&search](const kube::Object& object) {
    return std::ranges::find(search.namespaces, object.ns()) - search.namespaces.begin();
  };
  if (place(a) != place(b)) return place(a) < place(b);
  const auto rank = [](const kube::Object& object) { return is_base(object) ? 0 : 1; };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  if (a.creation_timestamp() != b.creation_timestamp()) {
    return a.creation_timestamp() > b.creation_timestamp();  // RFC 3339 in UTC sorts as text
  }
  return std::tuple(a.name(), a.ns()) < std::tuple(b.name(), b.ns());
}

struct Candidate {
  const kube::Object* object;
  std::map<std::string, std::string> labels;
};

struct Candidates {
  std::vector<Candidate> usable;
  std::set<std::string> os_labels;
  std::size_t deprecated = 0, foreign = 0;  // passed over
};

Candidates sort_out(const std::vector<kube::Object>& templates, const SourceVm& vm) {
  Candidates result;
  for (const kube::Object& object : templates) {
    if (mark(object, "template.kubevirt.io/deprecated") == "true") {
      ++result.deprecated;
      continue;
    }
    const std::string architecture = mark(object, "template.kubevirt.io/architecture");
    if (!architecture.empty() &&
        go_architecture(architecture) != go_architecture(vm.architecture)) {
      ++result.foreign;
      continue;
    }
    result.usable.push_back({&object, object.labels()});
    for (const auto& [key, value] : result.usable.back().labels) {
      if (key.starts_with(kOsLabel)) result.os_labels.insert(key.substr(kOsLabel.size()));
    }
  }
  return result;
}

const kube::Object* best_with(const Candidates& candidates, const std::string& os,
                              const std::string& workload, const std::string& flavor,
                              const TemplateSearch& search) {
  const std::string keys[] = {std::string(kOsLabel) + os, std::string(kWorkloadLabel) + workload,
                              std::string(kFlavorLabel) + flavor};
  const kube::Object* best = nullptr;
  for (const Candidate& candidate : candidates.usable) {
    const bool fits = std::ranges::all_of(
        keys, [&](const std::string& key) { return candidate.labels.contains(key); });
    if (fits && (best == nullptr || is_better(*candidate.object, *best, search))) {
      best = candidate.object;
    }
  }
  return best;
}

std::string passed_over(const Candidates& candidates) {
  std::string text;
  if (candidates.deprecated > 0) text += fmt::format("; {} deprecated", candidates.deprecated);
  if (candidates.foreign > 0) {
    text += fmt::format("; {} of another architecture", candidates.foreign);
  }
  return text.empty() ? text : text + " passed over";
}

std::string reason(const TemplateMatch& match, const Candidates& candidates) {
  std::string text =
      fmt::format("template '{}' carries os '{}', workload '{}', flavor '{}'",
                  match.object.ns().empty() ? match.object.name() : match.object.key().to_string(),
                  match.label_os, match.workload, match.flavor);
  if (match.label_os != match.os) text += fmt::format(" (no template is made for '{}')", match.os);
  return text + passed_over(candidates);
}

}  // namespace

Result<TemplateMatch> find_template(const std::vector<kube::Object>& templates,
                                    const std::string& os, const SourceVm& vm,
                                    const TemplateSearch& search) {
  const Candidates candidates = sort_out(templates, vm);
  const auto pairs = workload_flavors(vm);
  for (const std::string& label : os_candidates(os, candidates.os_labels, search)) {
    for (const auto& [workload, flavor] : pairs) {
      const kube::Object* found = best_with(candidates, label, workload, flavor, search);
      if (found == nullptr) continue;
      TemplateMatch match{*found, os, workload, flavor, label, {}};
      match.why = reason(match, candidates);
      return match;
    }
  }
  return coded_error(
      ErrorKind::NotFound, code::kTemplate,
      "no template for os '{}' and workload '{}' among {} (looked for labels {}{}, {}*, {}*{}); "
      "change the OS type at the source, add an entry to the OS config map, provide a template "
      "with "
      "these labels, or allow imports without template",
      os, pairs.front().first, templates.size(), kOsLabel, os, kWorkloadLabel, kFlavorLabel,
      passed_over(candidates));
}

kube::Object empty_base_vm(const std::string& vm_name) {
  using nlohmann::json;
  const std::string label = label_value(vm_name);
  return kube::Object(
      json{{"apiVersion", kube::types::kVirtualMachine.api_version},
           {"kind", kube::types::kVirtualMachine.kind},
           {"metadata", {{"name", vm_name}, {"labels", {{"app", label}}}}},
           {"spec",
            {{"template",
              {{"metadata",
                {{"labels", {{"kubevirt.io/domain", label}, {"vm.kubevirt.io/name", label}}}}},
               {"spec", {{"domain", {{"devices", json::object()}}}}}}}}}});
}

}  // namespace vmferry::imports
