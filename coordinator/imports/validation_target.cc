#include "coordinator/imports/storage_choice.h"
#include "coordinator/imports/validation_parts.h"

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
  std::vector<Finding> findings;
  std::vector<std::string> not_shared;  // disks whose claim is not ReadWriteMany
  for (const SourceDisk& disk : vm.disks) {
    const StorageChoice choice = choose_storage(mappings, vm, disk, facts);
    const std::vector<ClaimModes> offered = offered_modes(facts, choice.storage_class);
    if (!offers(offered, choice.volume_mode, choice.access_mode)) {
      findings.push_back(
          {rule_id(vm.provider, "storage.target.modes"), FindingLevel::Warn, FindingGroup::Mapping,
           fmt::format("disk {} asks for {} with {}, which the profile of its storage class does "
                       "not name; it names {}",
                       named(disk.name, disk.id), choice.volume_mode, choice.access_mode,
                       offered_text(offered)),
           "remove volumeMode and accessMode from the mapping to get modes that the class has"});
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
    if (!why.empty()) {
      findings.push_back({"vm.placement_policy.affinity", FindingLevel::Warn, FindingGroup::Rules,
                          "the VM prefers to migrate live, which it cannot at the target: " + why,
                          "map its disks to a class with ReadWriteMany and give no other "
                          "accessMode, or do without"});
    }
  }
  return findings;
}

}  // namespace vmferry::imports
