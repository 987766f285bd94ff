#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "coordinator/api/config.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/os_match.h"
#include "coordinator/kube/reader.h"
#include "coordinator/provider/provider.h"

// Everything that is read of the cluster before an import is decided; decision.h takes it from
// there. Read anew in each pass, so that a changed ConfigMap counts from the next one on.
namespace vmferry::imports {

// Where to look.
struct ObservationScope {
  bool embedded = true;                      // one machine, no cluster: see observe_config()
  std::string config_namespace = "vmferry";  // the controller's own
  std::string import_namespace;
  std::string template_directory = {};  // *.yaml, *.yml and *.json with Templates; empty: none
};

struct Observation {
  api::ControllerConfig config;
  ClusterFacts facts;
  UserOsMaps os_maps;
};

// Optional APIs that are absent count as empty. Errors: those of the reader.
Result<Observation> observe(kube::Reader& reader, const ObservationScope& scope,
                            std::stop_token stop);

// The controller's configuration alone. In embedded mode imports need no template and no network
// attachments unless it says so: both are the business of the cluster the VM is taken to.
Result<api::ControllerConfig> observe_config(kube::Reader& reader, const ObservationScope& scope,
                                             std::stop_token stop);

struct ObservedMappings {
  api::Mappings merged;
  std::vector<Finding> findings;  // about the ResourceMapping
  bool missing = false;           // it does not exist: a finding says so, `merged` is without it
};
// The import's own mappings merged with its ResourceMapping's.
Result<ObservedMappings> observe_mappings(kube::Reader& reader,
                                          const api::VirtualMachineImport& import,
                                          std::stop_token stop);

// The account of the import's secret. NotFound with VMF-REQ-SECRET-MISSING; InvalidArgument with
// VMF-REQ-SECRET-INVALID.
Result<ProviderCredentials> observe_credentials(kube::Reader& reader,
                                                const api::VirtualMachineImport& import,
                                                std::stop_token stop);

// A foreign VM, or another import of the namespace, that has the name, as a finding; nothing when
// it is free or ours. Of imports that are not over and want one name, the first to decide has it,
// else the oldest, else the first by its own name (ADM-17).
Result<std::optional<Finding>> name_conflict(kube::Reader& reader,
                                             const api::VirtualMachineImport& import,
                                             const std::string& vm_name, std::stop_token stop);

// Which section of the spec counts; check_request() has seen that there is just one.
ProviderKind provider_kind(const api::ImportSpec& spec);
const api::SourceSection& source_section(const api::ImportSpec& spec);
// The VM that it means, and what the import lets be done with it. `vddk`: an agent has VDDK.
VmRef source_reference(const api::VirtualMachineImport& import, bool vddk);

}  // namespace vmferry::imports
