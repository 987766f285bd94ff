#include <initializer_list>

#include "coordinator/imports/os_maps.h"
#include "coordinator/imports/template_search.h"
#include "coordinator/imports/templates.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// A family of guests that want the same virtual hardware. `prefixes` choose its OS labels among the
// values of the built-in OS maps.
struct Family {
  const char* name;  // also the label that the search falls back to
  const char* display_name;
  std::initializer_list<std::string_view> prefixes;
};

constexpr int kLinuxGraceSeconds = 180;
constexpr int kWindowsGraceSeconds = 3600;  // updates are installed while shutting down

json linux_spec() {
  return {{"terminationGracePeriodSeconds", kLinuxGraceSeconds},
          {"domain",
           {{"cpu", {{"cores", 1}, {"sockets", 1}, {"threads", 1}}},
            {"memory", {{"guest", "2Gi"}}},
            {"devices", {{"rng", json::object()}, {"networkInterfaceMultiqueue", true}}}}}};
}

// Without these Windows guests poll clocks and interrupts and run at a fraction of their speed.
json hyperv_features() {
  json features;
  for (const char* name : {"frequencies", "ipi", "reenlightenment", "relaxed", "reset", "runtime",
                           "synic", "tlbflush", "vapic", "vpindex"}) {
    features[name] = json::object();
  }
  features["spinlocks"] = {{"spinlocks", 8191}};
  features["synictimer"] = {{"direct", json::object()}};
  return features;
}

json windows_spec(bool tpm) {
  json spec = {
      {"terminationGracePeriodSeconds", kWindowsGraceSeconds},
      {"domain",
       {{"cpu", {{"cores", 1}, {"sockets", 2}, {"threads", 1}}},
        {"memory", {{"guest", "4Gi"}}},
        {"clock",
         {{"utc", json::object()},
          {"timer",
           {{"hpet", {{"present", false}}},
            {"hyperv", json::object()},
            {"pit", {{"tickPolicy", "delay"}}},
            {"rtc", {{"tickPolicy", "catchup"}}}}}}},
        {"features",
         {{"acpi", json::object()}, {"apic", json::object()}, {"hyperv", hyperv_features()}}},
        {"devices", json::object()}}}};
  if (tpm) spec["domain"]["devices"]["tpm"] = json::object();
  return spec;
}

// Every value of the OS maps that belongs to the family, and the family itself.
std::vector<std::string> os_labels(const Family& family) {
  std::vector<std::string> labels = {family.name};
  const auto add = [&](std::string_view os) {
    for (const std::string_view prefix : family.prefixes) {
      if (os.starts_with(prefix)) labels.emplace_back(os);
    }
  };
  for (const OsMapEntry& entry : upstream_os_info()) add(entry.value);
  for (const OsMapEntry& entry : added_os_info()) add(entry.value);
  return labels;
}

kube::Object make_template(const Family& family, const std::vector<std::string>& systems,
                           json pod_spec) {
  json labels = {{"template.kubevirt.io/type", "base"}};
  json annotations = {{"template.kubevirt.io/architecture", "amd64"}};
  for (const std::string& os : systems) {
    labels[std::string(kOsLabel) + os] = "true";
    annotations["name.os.template.kubevirt.io/" + os] = family.display_name;
  }
  for (const char* workload : {"server", "desktop", "highperformance"}) {
    labels[std::string(kWorkloadLabel) + workload] = "true";
  }
  for (const char* flavor : {"tiny", "small", "medium", "large"}) {
    labels[std::string(kFlavorLabel) + flavor] = "true";
  }
  const std::string name = std::string("vmferry-") + family.name;
  const json vm = {{"apiVersion", kube::types::kVirtualMachine.api_version},
                   {"kind", kube::types::kVirtualMachine.kind},
                   {"metadata", {{"name", "${NAME}"}, {"labels", {{"app", "${NAME}"}}}}},
                   {"spec",
                    {{"runStrategy", "Halted"},
                     {"template",
                      {{"metadata", {{"labels", {{"kubevirt.io/domain", "${NAME}"}}}}},
                       {"spec", std::move(pod_spec)}}}}}};
  return kube::Object(json{
      {"apiVersion", kube::types::kTemplate.api_version},
      {"kind", kube::types::kTemplate.kind},
      {"metadata",
       {{"name", name}, {"labels", std::move(labels)}, {"annotations", std::move(annotations)}}},
      {"objects", json::array({vm})},
      {"parameters", json::array({{{"name", "NAME"}, {"required", true}}})}});
}

}  // namespace

std::vector<kube::Object> builtin_templates() {
  const Family linux_families[] = {
      {"rhel", "Red Hat Enterprise Linux", {"rhel"}},
      {"centos", "CentOS", {"centos"}},
      {"fedora", "Fedora", {"fedora"}},
      {"ubuntu", "Ubuntu", {"ubuntu"}},
      {"debian", "Debian", {"debian"}},
      {"opensuse", "openSUSE", {"opensuse", "sles"}},
      {"linux", "Linux", {}},
  };
  std::vector<kube::Object> templates;
  for (const Family& family : linux_families) {
    templates.push_back(make_template(family, os_labels(family), linux_spec()));
  }
  // These refuse to install or update without a TPM; the older ones do not know it.
  const Family modern = {"windows11", "Windows 11, Server 2022 or later", {}};
  const std::vector<std::string> with_tpm = {"win11", "win2k22", "win2k25"};
  templates.push_back(make_template(modern, with_tpm, windows_spec(/*tpm=*/true)));
  const Family windows = {"windows", "Windows", {"win"}};
  std::vector<std::string> systems = os_labels(windows);
  for (const std::string& os : with_tpm) std::erase(systems, os);
  templates.push_back(make_template(windows, systems, windows_spec(/*tpm=*/false)));
  return templates;
}

}  // namespace vmferry::imports
