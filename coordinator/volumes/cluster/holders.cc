#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/api/import.h"
#include "coordinator/volumes/cluster/claim_objects.h"
#include "coordinator/volumes/cluster/cluster_volumes.h"
#include "coordinator/volumes/cluster/refusals.h"

// Holders: made, followed, removed.
namespace vmferry::volumes {
namespace {

using kube::types::kPersistentVolume;
using kube::types::kPersistentVolumeClaim;
using kube::types::kPod;
using kube::types::kStorageClass;
using kube::types::kVolumeAttachment;
using nlohmann::json;

constexpr std::chrono::seconds kRefusedRetry{10};
constexpr std::size_t kMostRemembered = 20'000;
constexpr const char* kHolderPrefix = "vmferry-hold-";

std::string import_uid(const kube::Object& claim) {
  const auto labels = claim.labels();
  const auto uid = labels.find(std::string(api::kImportUid));
  return uid == labels.end() ? "" : uid->second;
}

// The import among the claim's owners; the claim alone where there is none any more.
kube::OwnerReference holder_owner(const kube::Object& claim) {
  for (const kube::OwnerReference& owner : claim.owners()) {
    if (owner.uid == import_uid(claim)) return owner;
  }
  return {.api_version = kPersistentVolumeClaim.api_version,
          .kind = kPersistentVolumeClaim.kind,
          .name = claim.name(),
          .uid = claim.uid(),
          .controller = true,
          .block_owner_deletion = false};
}

json scheduling_of(const kube::Object& claim) {
  const auto text = claim.annotation(kSchedulingAnnotation);
  if (!text) return nullptr;
  json parsed = json::parse(*text, nullptr, false);
  return parsed.is_object() ? parsed : json();
}

bool is_marked(const kube::Object& claim, std::string_view annotation) {
  return claim.annotation(annotation) == "true";
}

// Made by us for this claim: a pod of the name may be anybody's.
bool is_own_holder(const kube::Object& pod, const kube::Object& claim) {
  return pod.labels().contains(std::string(kHolderLabel)) &&
         is_owned_by(pod, holder_owner(claim).uid);
}

std::map<std::string, std::string> holder_labels(const kube::Object& claim) {
  std::map<std::string, std::string> labels;
  const auto all = claim.labels();
  for (const std::string_view name : {api::kImportUid, api::kTracker}) {
    if (const auto label = all.find(std::string(name)); label != all.end()) labels.insert(*label);
  }
  return labels;
}

}  // namespace

Result<ClusterVolumes::Group> ClusterVolumes::group_of(const kube::Object& claim,
                                                       std::stop_token stop) {
  Group group;
  const std::string uid = import_uid(claim);
  if (!uid.empty()) {
    const kube::ObjectList all = TRY(reader_.list(
        kPersistentVolumeClaim,
        {.ns = claim.ns(), .label_selector = std::string(api::kImportUid) + "=" + uid}, stop));
    for (const kube::Object& item : all.items) {
      // Anybody may write a label; of the import are the claims that it owns.
      if (item.uid() != claim.uid() && !is_owned_by(item, uid)) continue;
      group.shared = group.shared || is_marked(item, kPlacedAnnotation);
      if (!item.deleting()) group.claims.push_back(item);
    }
  }
  if (!group.shared) group.claims = {claim};
  std::ranges::sort(group.claims, {}, [](const kube::Object& item) { return item.name(); });
  group.holder = {claim.ns(), kHolderPrefix + (group.shared ? uid : claim.name())};
  return group;
}

Result<bool> ClusterVolumes::needs_mover(const Group& group, std::stop_token stop) {
  if (settings_.mover_use == MoverUse::Always) return true;
  const kube::ObjectList classes = TRY(reader_.list(kStorageClass, {}, stop));
  for (const kube::Object& claim : group.claims) {
    if (settings_.mover_use == MoverUse::BlockDevices && is_block_claim(claim)) return true;
    if (!volume_of(claim).empty()) {
      if (TRY(has_host_path(claim, stop)) == true) return true;
      continue;
    }
    // Not bound yet: what the class is known to make saves a second pod.
    const std::string name =
        claim.json().value("/spec/storageClassName"_json_pointer, std::string());
    const auto found = std::ranges::find_if(
        classes.items, [&](const kube::Object& item) { return item.name() == name; });
    if (found != classes.items.end() && makes_host_paths(*found)) return true;
  }
  return false;
}

Result<std::string> ClusterVolumes::still_attached(const std::vector<kube::Object>& claims,
                                                   std::stop_token stop) {
  const auto ask = [&](kube::Reader& reader) -> Result<std::string> {
    const kube::ObjectList all = TRY(reader.list(kVolumeAttachment, {}, stop));
    for (const kube::Object& item : all.items) {
      const json& spec = item.json().contains("spec") ? item.json().at("spec") : item.json();
      const std::string volume =
          spec.value("/source/persistentVolumeName"_json_pointer, std::string());
      if (volume.empty() || std::ranges::find(claims, volume, volume_of) == claims.end()) continue;
      return fmt::format("volume '{}' to be detached from node '{}'", volume,
                         spec.value("nodeName", std::string("?")));
    }
    return std::string();
  };
  if (std::ranges::all_of(claims, [](const auto& claim) { return volume_of(claim).empty(); })) {
    return std::string();
  }
  std::string attached = TRY(ask(reader_));
  if (!attached.empty()) return attached;
  return ask(server_);
}

Result<std::optional<bool>> ClusterVolumes::has_host_path(const kube::Object& claim,
                                                          std::stop_token stop) {
  {
    auto known = host_paths_.lock();
    if (const auto found = known->find(claim.uid()); found != known->end()) {
      return std::optional(found->second);
    }
  }
  const auto volume =
      TRY(kube::get_if_exists(reader_, kPersistentVolume, {"", volume_of(claim)}, stop));
  if (!volume) return std::optional<bool>();
  auto known = host_paths_.lock();
  if (known->size() >= kMostRemembered) known->clear();  // asked for again
  known->insert_or_assign(claim.uid(), is_host_path(*volume));
  return std::optional(is_host_path(*volume));
}

Result<void> ClusterVolumes::make_holder(const Group& group, std::string& waiting_for,
                                         std::stop_token stop) {
  {
    auto refused = refused_.lock();
    if (const auto last = refused->find(group.holder);
        last != refused->end() && clock_.steady() < last->second.again) {
      waiting_for = last->second.text;
      return {};
    }
  }
  // Asked at the server, last: nothing may be attached when the next writer is let in.
  if (std::string attached = TRY(still_attached(group.claims, stop)); !attached.empty()) {
    waiting_for = std::move(attached);
    return {};
  }
  const kube::Object& first = group.claims.front();
  const HolderSpec spec{.key = group.holder,
                        .claims = group.claims,
                        .mover = TRY(needs_mover(group, stop)),
                        .owner = holder_owner(first),
                        .labels = holder_labels(first),
                        .scheduling = scheduling_of(first)};
  const auto made = writer_.create(kPod, holder_pod(spec, settings_.holder), {}, stop);
  waiting_for = fmt::format("holder pod '{}' to be scheduled", group.holder.to_string());
  if (made || made.error().kind() == ErrorKind::AlreadyExists) {
    refused_.lock()->erase(group.holder);
    return {};
  }
  const Error error = explained(made.error(), code::kHolderRefused);
  if (!is_mendable(error)) return error;
  waiting_for = fmt::format("holder pod '{}' to be allowed: {}", group.holder.to_string(),
                            text_with_remedy(error));
  refused_.lock()->insert_or_assign(group.holder,
                                    Refusal{clock_.steady() + kRefusedRetry, waiting_for});
  return {};
}

Result<void> ClusterVolumes::remove_holder(const kube::Object& pod, std::stop_token stop) {
  if (pod.deleting()) return {};
  auto removed = writer_.remove(kPod, pod.key(), kube::Propagation::Background,
                                {.uid = pod.uid(), .resource_version = ""}, stop);
  if (!removed && removed.error().kind() != ErrorKind::NotFound) return std::move(removed).error();
  return {};
}

Result<void> ClusterVolumes::mark_released(const kube::Object& claim, bool released,
                                           std::stop_token stop) {
  if (is_marked(claim, kReleasedAnnotation) == released) return {};
  json annotation{{std::string(kReleasedAnnotation), released ? json("true") : json()}};
  auto patched = writer_.patch(kPersistentVolumeClaim, claim.key(),
                               {{"metadata", {{"annotations", std::move(annotation)}}}}, {}, stop);
  if (!patched && patched.error().kind() != ErrorKind::NotFound) {
    return std::move(patched).error();
  }
  return {};
}

// The holder runs. What an agent needs to find the volume, or to know that it is its own.
Result<std::optional<ReachableVolume>> ClusterVolumes::reach(const kube::Object& claim,
                                                             const kube::Object& pod,
                                                             const HolderState& state,
                                                             std::string& waiting_for,
                                                             std::stop_token stop) {
  const std::string volume = volume_of(claim);
  if (!is_bound(claim) || volume.empty()) {
    waiting_for = fmt::format("claim '{}' to be bound", claim.key().to_string());
    return std::optional<ReachableVolume>();
  }
  TRY(check_capacity(claim));
  ReachableVolume reachable;
  reachable.target.claim_uid = claim.uid();
  reachable.target.name = claim.key().to_string();
  reachable.target.block = is_block_claim(claim);
  if (is_mover(pod)) {
    reachable.target.mover = true;
    reachable.target.path = target_path(claim.name(), is_block_claim(claim));
    reachable.nodes = {protocol::mover_node(pod.uid())};
    return std::optional(std::move(reachable));
  }
  const std::optional<bool> host_path = TRY(has_host_path(claim, stop));
  if (!host_path) {
    waiting_for = fmt::format("volume '{}' to appear", volume);
    return std::optional<ReachableVolume>();
  }
  if (*host_path) {
    // Bound only now, and of a kind that only the pod itself can reach: a mover takes its place.
    TRY(remove_holder(pod, stop));
    waiting_for = fmt::format("holder pod '{}' to make way for a mover, volume '{}' being hostPath",
                              pod.key().to_string(), volume);
    return std::optional<ReachableVolume>();
  }
  reachable.target.pod_uid = pod.uid();
  reachable.target.volume = volume;
  reachable.nodes = {state.node};
  return std::optional(std::move(reachable));
}

Result<std::optional<ReachableVolume>> ClusterVolumes::make_reachable(const kube::ObjectKey& key,
                                                                      std::string& waiting_for,
                                                                      std::stop_token stop) {
  const kube::Object claim = TRY(reader_.get(kPersistentVolumeClaim, key, stop));
  if (claim.deleting() || claim.json().value("/status/phase"_json_pointer, "") == "Lost") {
    return make_error(ErrorKind::DataLoss, "claim '{}' is being removed or has lost its volume",
                      key.to_string());
  }
  TRY(mark_released(claim, false, stop));
  const Group group = TRY(group_of(claim, stop));
  const auto pod = TRY(kube::get_if_exists(reader_, kPod, group.holder, stop));
  if (!pod) {
    TRY(make_holder(group, waiting_for, stop));
    return std::optional<ReachableVolume>();
  }
  if (!is_own_holder(*pod, claim)) {
    return coded_error(ErrorKind::AlreadyExists, code::kNameTaken,
                       "pod '{}' exists and belongs to somebody else", group.holder.to_string());
  }
  const HolderState state = holder_state(*pod);
  switch (state.kind) {
    case HolderState::Kind::Running:
      if (holds(*pod, claim.name())) {
        // A holder's volumes stay where agents find them; a mover copies itself, or nobody does.
        if (!is_mover(*pod) || state.waiting_for.empty()) break;
        waiting_for = state.waiting_for;
        return std::optional<ReachableVolume>();
      }
      // Made for other claims: a claim was replaced. Its writers are stopped by the unmounting.
      [[fallthrough]];
    case HolderState::Kind::Ended:
      TRY(remove_holder(*pod, stop));
      waiting_for = state.waiting_for.empty() ? "a new holder pod" : state.waiting_for;
      return std::optional<ReachableVolume>();
    case HolderState::Kind::Starting:
    case HolderState::Kind::Leaving:
      waiting_for = state.waiting_for;
      return std::optional<ReachableVolume>();
  }
  return reach(claim, *pod, state, waiting_for, stop);
}

Result<bool> ClusterVolumes::release(const kube::ObjectKey& key, std::stop_token stop) {
  const auto claim = TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, key, stop));
  if (!claim) return true;  // it goes only when no pod uses it any more
  const Group group = TRY(group_of(*claim, stop));
  if (group.shared) {
    TRY(mark_released(*claim, true, stop));
    const bool others_write = std::ranges::any_of(group.claims, [&](const kube::Object& item) {
      return item.name() != claim->name() && !is_marked(item, kReleasedAnnotation);
    });
    // The last one to be released ends the holder, and waits for all.
    if (others_write) return true;
  }
  const auto pod = TRY(kube::get_if_exists(reader_, kPod, group.holder, stop));
  if (pod && is_own_holder(*pod, *claim)) {
    TRY(remove_holder(*pod, stop));
    return false;
  }
  return TRY(still_attached(group.claims, stop)).empty();
}

}  // namespace vmferry::volumes
