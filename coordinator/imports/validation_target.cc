#include "coordinator/imports/storage_choice.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

std::string offered_text(const std::vector<ClaimModes>& offered) {
  std::vector<std::string> parts;
  for (const ClaimModes& set : offered) {
    parts.push_back(fmt::format("{} with {}", set.volume_mode, fmt::join(set.access_modes, ", ")));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

std::vector<Finding> check_target(const SourceVm& vm, const api::Mappings& mappings,
                                  const ClusterFacts& facts, const api::ControllerConfig& config) {
  rules::Findings findings;
  std::vector<std::string> not_shared;  // disks whose claim is not ReadWriteMany
  for (const SourceDisk& disk : vm.disks) {
    const StorageChoice choice = choose_storage(mappings, vm, disk, facts);
    const std::vector<ClaimModes> offered = offered_modes(facts, choice.storage_class);
    if (!offers(offered, choice.volume_mode, choice.access_mode)) {
      findings.add_of(vm.provider, "storage.target.modes", "vmware.storage.target.modes",
                      named(disk.name, disk.id), choice.volume_mode, choice.access_mode,
                      offered_text(offered));
    }
    if (choice.access_mode != "ReadWriteMany") not_shared.push_back(named(disk.name, disk.id));
  }
  if (vm.provider == ProviderKind::Ovirt && vm.live_migratable) {
    std::string why;
    if (!config.live_migration) why = "the feature gate LiveMigration is off";
    if (!not_shared.empty()) {
      why += fmt::format("{}the claim of disk {} is not ReadWriteMany", why.empty() ? "" : ", and ",
                         fmt::join(not_shared, ", "));
    }
    if (!why.empty()) findings.add("vm.placement_policy.affinity", why);
  }
  return findings.take();
}

}  // namespace vmferry::imports
