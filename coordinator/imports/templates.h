#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/template_search.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

struct TemplateMatch {
  kube::Object object;  // the Template
  std::string os, workload, flavor;
  std::string label_os;  // the OS label that matched: os itself, or what it fell back to
  std::string why;       // one sentence for the status: which labels matched, what was passed over
};

// The common template for the OS and the source's workload (os-and-templates.md 3): deterministic.
// NotFound with VMF-REQ-TEMPLATE tells the labels looked for and what to do.
Result<TemplateMatch> find_template(const std::vector<kube::Object>& templates,
                                    const std::string& os, const SourceVm& vm,
                                    const TemplateSearch& search = {});

// Templates that ship with VMFerry, so that plain Kubernetes and the embedded mode work without
// OpenShift: a small set by OS family. Used when the cluster has none that fits.
std::vector<kube::Object> builtin_templates();

// Expands the template's parameters (NAME = vm_name; generators; defaults kept) and returns the
// VirtualMachine in it with disks, volumes and networks cleared and our labels set (5.).
// InvalidArgument with VMF-REQ-TEMPLATE when there is none or a required parameter has no value.
Result<kube::Object> process_template(const TemplateMatch& match, const std::string& vm_name);

// The base VM for an import without a template (6.).
kube::Object empty_base_vm(const std::string& vm_name);

}  // namespace vmferry::imports
