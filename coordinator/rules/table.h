#pragma once

#include <span>
#include <string_view>

#include "coordinator/rules/mapping_rules.h"
#include "coordinator/rules/ovirt_device_rules.h"
#include "coordinator/rules/ovirt_vm_rules.h"
#include "coordinator/rules/request_rules.h"
#include "coordinator/rules/template_rules.h"
#include "coordinator/rules/vmware_rules.h"

namespace vmferry::rules {

struct Section {
  std::string_view title;
  std::span<const Rule> rules;
};

// Every rule there is.
inline constexpr Section kSections[] = {
    {"The request (API admission)", kRequestRules},
    {"Network mapping", kNetworkRules},
    {"Storage mapping", kStorageRules},
    {"Template", kTemplateRules},
    {"oVirt VM", kOvirtVmRules},
    {"oVirt NIC", kOvirtNicRules},
    {"oVirt disk", kOvirtDiskRules},
    {"VMware VM", kVmwareVmRules},
    {"VMware disk and NIC", kVmwareDeviceRules},
};

// The rule's form; its usual one for an empty `form`. Null: there is none.
constexpr const Rule* find_rule(std::string_view id, std::string_view form = {}) {
  for (const Section& section : kSections) {
    for (const Rule& rule : section.rules) {
      if (rule.id == id && rule.form == form) return &rule;
    }
  }
  return nullptr;
}

}  // namespace vmferry::rules
