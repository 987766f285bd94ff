#pragma once

#include <optional>
#include <string>

#include "coordinator/imports/os_match.h"
#include "coordinator/imports/pass.h"

// Reading what the decisions need to know; nothing here writes.
namespace vmferry::imports {

// Where it is read, and as whom.
struct Observer {
  kube::Reader& reader;
  const ReconcilerSettings& settings;
  std::stop_token stop;
};

struct ClusterView {
  ClusterFacts facts;
  api::ControllerConfig config;
  Result<OsMaps> os_maps = OsMaps{};  // an error: the user's ConfigMap cannot be read
};
// Classes, templates, attachments, overheads, configuration, OS maps. Optional APIs that are absent
// count as empty.
Result<ClusterView> observe_cluster(const Observer& observer);

// The section of the import's ResourceMapping for its provider; nothing when it names none.
// NotFound with VMF-REQ-MAPPING-MISSING.
Result<std::optional<api::Mappings>> observe_external_mappings(
    const Observer& observer, const api::VirtualMachineImport& import);

// The account of the import's secret. NotFound with VMF-REQ-SECRET-MISSING; InvalidArgument with
// VMF-REQ-SECRET-INVALID.
Result<ProviderCredentials> observe_credentials(const Observer& observer,
                                                const api::VirtualMachineImport& import);

// A foreign VM, or another import at work, that has the name, told with a remedy; nothing when it
// is free or ours.
Result<std::optional<std::string>> name_conflict(const Observer& observer,
                                                 const api::VirtualMachineImport& import,
                                                 const std::string& vm_name);

// Which section of the spec counts; check_request() has seen that there is just one.
ProviderKind provider_kind(const api::ImportSpec& spec);
const api::SourceSection& source_section(const api::ImportSpec& spec);

}  // namespace vmferry::imports
