#include "coordinator/imports/storage_choice.h"

#include <algorithm>

#include "common/bytes.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

constexpr const char* kFilesystem = "Filesystem";

bool given(const std::optional<std::string>& text) { return text && !text->empty(); }

bool contains(const std::vector<std::string>& values, std::string_view wanted) {
  return std::ranges::find(values, wanted) != values.end();
}

// All access modes offered with this volume mode, in the profile's order.
std::vector<std::string> access_modes(const std::vector<ClaimModes>& offered,
                                      const std::string& volume_mode) {
  std::vector<std::string> modes;
  for (const ClaimModes& set : offered) {
    if (set.volume_mode != volume_mode) continue;
    for (const std::string& mode : set.access_modes) {
      if (!contains(modes, mode)) modes.push_back(mode);
    }
  }
  return modes;
}

std::string best_access_mode(const std::string& usual, const std::vector<std::string>& modes) {
  if (modes.empty() || contains(modes, usual)) return usual;
  return contains(modes, "ReadWriteOnce") ? "ReadWriteOnce" : modes.front();
}

}  // namespace

std::vector<ClaimModes> offered_modes(const ClusterFacts& facts, const std::string& storage_class) {
  const auto profile = facts.storage_profiles.find(facts.effective_class(storage_class));
  if (profile == facts.storage_profiles.end()) return {};

  static const json::json_pointer kSets("/status/claimPropertySets");
  const json& object = profile->second.json();
  if (!object.contains(kSets) || !object.at(kSets).is_array()) return {};
  std::vector<ClaimModes> offered;
  for (const json& set : object.at(kSets)) {
    if (!set.is_object()) continue;
    ClaimModes modes{.volume_mode = kFilesystem, .access_modes = {}};
    if (const auto mode = set.find("volumeMode"); mode != set.end() && mode->is_string()) {
      modes.volume_mode = mode->get<std::string>();
    }
    if (const auto list = set.find("accessModes"); list != set.end() && list->is_array()) {
      for (const json& mode : *list) {
        if (mode.is_string()) modes.access_modes.push_back(mode.get<std::string>());
      }
    }
    if (!modes.access_modes.empty()) offered.push_back(std::move(modes));
  }
  return offered;
}

bool offers(const std::vector<ClaimModes>& offered, const std::string& volume_mode,
            const std::string& access_mode) {
  return offered.empty() || contains(access_modes(offered, volume_mode), access_mode);
}

std::uint64_t minimum_claim_bytes(const ClusterFacts& facts, const std::string& storage_class) {
  const auto profile = facts.storage_profiles.find(facts.effective_class(storage_class));
  if (profile == facts.storage_profiles.end()) return 0;
  const auto minimum = parse_quantity(
      profile->second.annotation("cdi.kubevirt.io/minimumSupportedPvcSize").value_or(""));
  return minimum ? *minimum : 0;
}

StorageChoice choose_storage(const api::Mappings& mappings, const SourceVm& vm,
                             const SourceDisk& disk, const ClusterFacts& facts) {
  StorageChoice choice = resolve_storage(mappings, vm, disk);
  const std::vector<ClaimModes> offered = offered_modes(facts, choice.storage_class);
  if (offered.empty()) return choice;
  const api::StorageMappingItem* item = storage_item(mappings, disk);
  const bool volume_mode_given = item != nullptr && given(item->volume_mode);
  const bool access_mode_given = item != nullptr && given(item->access_mode);
  if (!volume_mode_given && access_modes(offered, kFilesystem).empty()) {
    choice.volume_mode = offered.front().volume_mode;
  }
  if (!access_mode_given) {
    choice.access_mode =
        best_access_mode(choice.access_mode, access_modes(offered, choice.volume_mode));
  }
  return choice;
}

}  // namespace vmferry::imports
