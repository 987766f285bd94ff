#pragma once

#include <optional>
#include <string>

#include "coordinator/api/config.h"
#include "coordinator/imports/os_match.h"
#include "coordinator/imports/templates.h"

// What the source's attributes are merged into: a template, a preference or nothing, pure apart
// from the passwords that templates generate.
namespace vmferry::imports {

struct BaseInput {
  const SourceVm& vm;
  const ClusterFacts& facts;
  const api::ControllerConfig& config;
  const UserOsMaps& os_maps;
};

struct BaseVm {
  kube::Object object;
  std::string os;                               // common OS name; empty if unknown
  std::string os_why;                           // what in the source told it, or why nothing does
  std::string note;                             // for the status: what was chosen and why
  std::optional<kube::Object> template_object;  // none: a preference, or no template
  std::string instancetype;                     // a cluster instance type of the source's size
};

// match_os() with the administrator's maps. Their problem is its error.
Result<OsMatch> decide_os(const BaseInput& input);

// The cluster's templates (OpenShift's, then those shipped in ConfigMaps and files) before the
// built-in ones, which count where there is no template API, or as the configuration says.
Result<TemplateMatch> choose_template(const BaseInput& input, const std::string& os);

// Errors, always with VMF-REQ-TEMPLATE: nothing fits and imports without template are not allowed.
Result<BaseVm> choose_base(const BaseInput& input, const std::string& vm_name);

}  // namespace vmferry::imports
